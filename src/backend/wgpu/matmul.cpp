#include <array>

#include "backend/wgpu/rows.h"
#include "backend/wgpu/wgpu_backend.h"

namespace candela::wgpu {
namespace {

struct MatmulParams {
  uint32_t m, n, k, batches;
  uint32_t sizes[3];
  uint32_t a_offset, a_kind;
  uint32_t a_batch[4];
  uint32_t a_m, a_k, b_offset, b_kind;
  uint32_t b_batch[4];
  uint32_t b_k, b_n, y_offset;
  uint32_t y_batch[4];
  uint32_t y_m, y_n;
};

/// Strides of the batch dimensions, right-aligned in four places.
void batch_strides(const View& view, uint32_t (&out)[4]) {
  const int batch = view.rank() - 2;
  for (int axis = 0; axis < batch; ++axis) {
    out[4 - batch + axis] = narrow_u32(view.layout.stride(axis), "a batch stride of matmul");
  }
}

}  // namespace

void WgpuBackend::matmul(const View& a, const View& b, const View& y) {
  if (y.elements() == 0) {
    return;
  }
  const int batch = y.rank() - 2;
  MatmulParams params{};
  params.m = narrow_u32(y.dim(-2), "the rows of matmul");
  params.n = narrow_u32(y.dim(-1), "the columns of matmul");
  params.k = narrow_u32(a.dim(-1), "the inner size of matmul");
  params.batches = 1;
  for (uint32_t& size : params.sizes) {
    size = 1;
  }
  for (int axis = 0; axis < batch; ++axis) {
    const uint32_t size = narrow_u32(y.dim(axis), "a batch size of matmul");
    params.batches *= size;
    const int place = 4 - batch + axis;
    if (place > 0) {
      params.sizes[place - 1] = size;
    }
  }
  params.a_offset = narrow_u32(a.layout.offset, "the offset of a matrix");
  params.b_offset = narrow_u32(b.layout.offset, "the offset of a matrix");
  params.y_offset = narrow_u32(y.layout.offset, "the offset of a matrix");
  params.a_kind = real_kind(a.dtype, "matmul");
  params.b_kind = real_kind(b.dtype, "matmul");
  batch_strides(a, params.a_batch);
  batch_strides(b, params.b_batch);
  batch_strides(y, params.y_batch);
  params.a_m = narrow_u32(a.layout.stride(-2), "a stride of matmul");
  params.a_k = narrow_u32(a.layout.stride(-1), "a stride of matmul");
  params.b_k = narrow_u32(b.layout.stride(-2), "a stride of matmul");
  params.b_n = narrow_u32(b.layout.stride(-1), "a stride of matmul");
  params.y_m = narrow_u32(y.layout.stride(-2), "a stride of matmul");
  params.y_n = narrow_u32(y.layout.stride(-1), "a stride of matmul");
  const uint64_t tiles = uint64_t{(params.m + 15) / 16} * ((params.n + 15) / 16) * params.batches;
  stream_->dispatch({"matmul"}, grid_for(tiles), params, {whole_in(a), whole_in(b), whole_out(y)});
}

}  // namespace candela::wgpu
