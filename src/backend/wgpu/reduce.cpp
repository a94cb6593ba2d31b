#include <algorithm>
#include <array>

#include "backend/wgpu/elements.h"
#include "backend/wgpu/walk.h"
#include "backend/wgpu/wgpu_backend.h"
#include "base/error.h"

namespace candela::wgpu {
namespace {

struct ReduceRowsParams {
  WalkNumbers sizes, x_strides, y_strides;
  uint32_t rank, rows, cols, chunk, chunks, x_offset, x_stride, x_kind, y_offset, y_stride, divide;
  float divisor;
};

struct ArgmaxParams {
  WalkNumbers sizes, x_strides, y_strides;
  uint32_t rank, rows, cols, chunk, chunks, x_offset, x_stride, x_kind, y_offset;
};

struct CumsumParams {
  WalkNumbers sizes, x_strides, y_strides;
  uint32_t rank, rows, cols, x_offset, x_stride, x_kind, y_offset, y_stride;
};

/// Elements that one workgroup reduces: 16 a thread keep sums exact to a few roundings.
constexpr int64_t kSumChunk = 4096;
/// Eight a thread: a row of logits spreads over some 75 workgroups.
constexpr int64_t kArgChunk = 2048;
/// Rows up to this length are reduced by single threads.
constexpr int64_t kNarrow = 32;

int64_t chunks_of(int64_t cols, int64_t chunk) {
  return std::max<int64_t>(1, (cols + chunk - 1) / chunk);
}

/// Params that all kernels over rows share. `x` and `y` are the rows, without their last dimension.
template <typename Params>
Params row_params(const Layout& x, const Layout& y, const View& from, const char* op) {
  std::array<Layout, 2> rows = {x, y};
  merge_together(rows);
  Params params{};
  params.sizes = walk_sizes(rows[0]);
  params.x_strides = walk_strides(rows[0]);
  params.y_strides = walk_strides(rows[1]);
  params.rank = static_cast<uint32_t>(rows[0].rank());
  params.rows = narrow_u32(rows[0].elements(), "the number of rows");
  params.cols = narrow_u32(from.dim(-1), "the length of a row");
  params.x_stride = narrow_u32(from.layout.stride(-1), "the stride of a dimension");
  params.x_kind = float_kind(from, op);
  return params;
}

Layout rows_of_last(const View& view) {
  return without_axis(view.layout, view.rank() - 1);
}

}  // namespace

void WgpuBackend::reduce(ReduceKind kind, const View& x, const View& y) {
  const char* op = name_of(kind);
  if (y.elements() == 0) {
    return;
  }
  if (y.dtype != DType::F32) {
    const View result = scratch(y.shape(), DType::F32);
    reduce(kind, x, result);
    copy(result, y);
    return;
  }
  KernelId kernel{"reduce_rows"};
  if (kind == ReduceKind::sum || kind == ReduceKind::mean) {
    kernel.defines = {"SUM"};
  } else if (kind == ReduceKind::min) {
    kernel.defines = {"LEAST"};
  }
  const auto average = [&](bool last) { return last && kind == ReduceKind::mean ? 1u : 0u; };
  View from = x;
  for (bool last = false; !last;) {
    const int64_t chunks = chunks_of(from.dim(-1), kSumChunk);
    last = chunks == 1;
    const View to = last ? y : scratch(y.shape().inserted(y.rank(), chunks), DType::F32);
    const Bound source(from, op);
    const Bound target(to, op);
    auto params = row_params<ReduceRowsParams>(rows_of_last(from),
                                               last ? to.layout : rows_of_last(to), from, op);
    params.chunk = static_cast<uint32_t>(kSumChunk);
    params.chunks = static_cast<uint32_t>(chunks);
    params.x_offset = source.offset();
    params.y_offset = target.offset();
    params.y_stride = 1;
    params.divide = average(last);
    params.divisor = static_cast<float>(x.dim(-1));
    KernelId variant = kernel;
    Grid grid = grid_for(uint64_t{params.rows} * params.chunks);
    if (params.cols <= kNarrow) {
      variant.defines.emplace_back("NARROW");
      grid = threads_grid(params.rows);
    }
    narrow_u32(int64_t{params.rows} * chunks, "the number of chunks");
    stream_->dispatch(variant, grid, params, {source.read(), target.write()});
    from = to;
  }
}

void WgpuBackend::arg_reduce(ReduceKind kind, const View& x, const View& y) {
  const char* op = kind == ReduceKind::min ? "argmin" : "argmax";
  if (y.elements() == 0) {
    return;
  }
  const Bound source(x, op);
  const Bound target(y, op);
  KernelId kernel{"argmax"};
  if (kind == ReduceKind::min) {
    kernel.defines = {"LEAST"};
  }
  const int64_t chunks = chunks_of(x.dim(-1), kArgChunk);
  auto params = row_params<ArgmaxParams>(rows_of_last(x), y.layout, x, op);
  params.chunk = static_cast<uint32_t>(kArgChunk);
  params.chunks = static_cast<uint32_t>(chunks);
  params.x_offset = source.offset();
  params.y_offset = target.offset();
  const auto rows = static_cast<int64_t>(params.rows);
  narrow_u32(rows * chunks * 2, "the number of candidates");
  if (chunks == 1) {
    stream_->dispatch(kernel, grid_for(params.rows), params, {source.read(), target.write()});
    return;
  }
  const View pairs = scratch(y.shape().inserted(y.rank(), chunks * 2), DType::U32);
  const Bound found(pairs, op);
  KernelId first = kernel;
  first.defines.emplace_back("PAIRS_OUT");
  stream_->dispatch(first, grid_for(uint64_t{params.rows} * params.chunks), params,
                    {source.read(), found.write()});
  // The best of all chunks: one workgroup a row, however many chunks there are.
  auto merge = row_params<ArgmaxParams>(rows_of_last(pairs), y.layout,
                                        {pairs.storage, pairs.layout, DType::F32}, op);
  merge.cols = params.chunks;
  merge.chunk = params.chunks;
  merge.chunks = 1;
  merge.y_offset = params.y_offset;
  stream_->dispatch({"argmax", {"PAIRS_IN"}}, grid_for(params.rows), merge,
                    {found.read(), target.write()});
}

void WgpuBackend::cumsum(const View& x, const View& y) {
  if (y.elements() == 0) {
    return;
  }
  if (y.dtype != DType::F32) {
    const View result = scratch(y.shape(), DType::F32);
    cumsum(x, result);
    copy(result, y);
    return;
  }
  const Bound source(x, "cumsum");
  const Bound target(y, "cumsum");
  auto params = row_params<CumsumParams>(rows_of_last(x), rows_of_last(y), x, "cumsum");
  params.x_offset = source.offset();
  params.y_offset = target.offset();
  params.y_stride = narrow_u32(y.layout.stride(-1), "the stride of a dimension");
  stream_->dispatch({"cumsum"}, grid_for(params.rows), params, {source.read(), target.write()});
}

}  // namespace candela::wgpu
