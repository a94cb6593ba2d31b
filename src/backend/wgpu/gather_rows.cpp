#include "backend/wgpu/rows.h"
#include "backend/wgpu/wgpu_backend.h"
#include "base/error.h"

namespace candela::wgpu {
namespace {

struct GatherRowsParams {
  uint32_t count, cols, row_begin, row_end, first, ids_offset, ids_stride, w_start, w_stride;
  uint32_t y_offset;
};

/// A gapless table as a matrix whose rows are what one id names.
View as_matrix(const View& table, int64_t rows, int64_t cols) {
  View matrix = table;
  matrix.layout = Layout(Shape{rows, cols}, table.layout.offset);
  return matrix;
}

}  // namespace

void WgpuBackend::gather_rows(const View& table, const View& ids, const View& y) {
  if (y.elements() == 0) {
    return;
  }
  const int64_t rows = table.dim(0);
  const int64_t cols = y.elements() / y.dim(0);
  if (rows == 0) {
    return fill(y, 0.0);
  }
  const bool same = table.dtype == y.dtype;
  if (!same && y.dtype != DType::F32) {
    fail(ErrorKind::Unsupported, Subject::Device,
         "gather_rows: a table of type {} cannot give rows of type {}; use F32 or its own type.",
         dtype_name(table.dtype), dtype_name(y.dtype));
  }
  // Rows of 4-byte integers are moved as words, as if they were F32.
  View source = as_matrix(dense(*this, table), rows, cols);
  const bool words = same && block_bytes(source.dtype) == 4 && block_elements(source.dtype) == 1;
  const bool halves = same && block_bytes(source.dtype) == 2;
  if (words) {
    source.dtype = DType::F32;
  }
  const Weight weight = weight_rows(source, "gather_rows");
  const bool direct = y.layout.is_contiguous();
  const View to = direct ? y : temporary(*this, y.shape(), y.dtype);
  KernelId kernel{"gather_rows"};
  define_weight(kernel, source.dtype, false);
  if (halves) {
    kernel.defines.emplace_back("SAME_HALF");
  } else if (words) {
    kernel.defines.emplace_back("SAME");
  }
  GatherRowsParams params{};
  params.count = narrow_u32(y.dim(0), "the number of ids");
  params.cols = weight.cols;
  params.first = 1;
  params.ids_offset = narrow_u32(ids.layout.offset, "the offset of ids");
  params.ids_stride = narrow_u32(ids.layout.stride(0), "the stride of ids");
  params.w_stride = weight.stride;
  params.y_offset = narrow_u32(to.layout.offset, "the offset of y");
  const uint64_t threads = halves ? uint64_t{params.count} * params.cols / 2 + 2
                                  : uint64_t{params.count} * ((params.cols + 7) / 8);
  for (const WeightPiece& piece : weight.pieces) {
    params.row_begin = piece.begin;
    params.row_end = piece.end;
    params.w_start = piece.start;
    stream_->dispatch(kernel, grid_for((threads + 255) / 256), params,
                      {in(source, piece.segment), whole_in(ids), whole_out(to)});
    params.first = 0;
  }
  if (!direct) {
    copy(to, y);
  }
}

}  // namespace candela::wgpu
