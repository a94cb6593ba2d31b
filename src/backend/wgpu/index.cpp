#include <array>

#include "backend/wgpu/elements.h"
#include "backend/wgpu/walk.h"
#include "backend/wgpu/wgpu_backend.h"
#include "base/error.h"

namespace candela::wgpu {
namespace {

struct WriteRowsParams {
  WalkNumbers sizes, x_strides, id_strides, y_strides;
  uint32_t rank, count, x_offset, id_offset, y_offset, x_kind, y_kind, raw, y_rows, y_row_stride;
};

struct ScatterAddParams {
  WalkNumbers sizes, x_strides, index_strides, y_strides;
  uint32_t rank, lanes, length, limit, x_offset, x_stride, index_offset, index_stride;
  uint32_t y_offset, y_stride;
};

void require(const View& view, DType dtype, const char* op) {
  if (view.dtype != dtype) {
    fail(ErrorKind::Unsupported, Subject::Device,
         "{}: an operand of type {} is not supported on WebGPU; convert it to {}.", op,
         dtype_name(view.dtype), dtype_name(dtype));
  }
}

/// `layout` seen with another shape, its axis held at its first element.
Layout held_at_axis(const Layout& layout, int axis, const Shape& shape) {
  Layout out = layout;
  out.shape = shape;
  out.strides[static_cast<size_t>(axis)] = 0;
  return out;
}

}  // namespace

void WgpuBackend::write_rows(const View& x, const View& ids, const View& y) {
  if (x.elements() == 0 || y.elements() == 0) {
    return;
  }
  require(ids, DType::U32, "write_rows");
  const Bound source(x, "write_rows");
  const Bound rows(ids, "write_rows");
  const Bound target(y, "write_rows");
  Layout spread = ids.layout;
  spread.shape = x.shape();
  for (int axis = 1; axis < x.rank(); ++axis) {
    spread.strides[static_cast<size_t>(axis)] = 0;
  }
  std::array<Layout, 3> walks = {x.layout, spread, held_at_axis(y.layout, 0, x.shape())};
  merge_together(walks);
  WriteRowsParams params{};
  params.sizes = walk_sizes(walks[0]);
  params.x_strides = walk_strides(walks[0]);
  params.id_strides = walk_strides(walks[1]);
  params.y_strides = walk_strides(walks[2]);
  params.rank = static_cast<uint32_t>(walks[0].rank());
  params.count = narrow_u32(x.elements(), "the number of elements");
  params.x_offset = source.offset();
  params.id_offset = rows.offset();
  params.y_offset = target.offset();
  params.x_kind = kind_of(x.dtype);
  params.y_kind = kind_of(y.dtype);
  params.raw = x.dtype == y.dtype ? 1 : 0;
  params.y_rows = narrow_u32(y.dim(0), "the number of rows");
  params.y_row_stride = narrow_u32(y.layout.stride(0), "the stride of rows");
  KernelId kernel{"write_rows"};
  if (block_bytes(y.dtype) == 2) {
    kernel.defines = {"HALF"};
  }
  if (is_quantized(x.dtype) || is_quantized(y.dtype)) {
    require(is_quantized(x.dtype) ? x : y, DType::F32, "write_rows");
  }
  stream_->dispatch(kernel, threads_grid(x.elements()), params,
                    {source.read(), rows.read(), target.write()});
}

void WgpuBackend::gather(const View& x, int axis, const View& index, const View& y) {
  if (y.elements() == 0) {
    return;
  }
  axis = axis < 0 ? axis + x.rank() : axis;
  require(index, DType::U32, "gather");
  require(y, x.dtype, "gather");
  if (x.elements() == 0) {
    fill(y, 0.0);
    return;
  }
  const Bound source(x, "gather");  // all of x, which the held view does not show
  View held = source.place.view;
  held.layout = held_at_axis(held.layout, axis, y.shape());
  ElementOp op("gather", {index, held}, y);
  op.params.kinds[2] = narrow_u32(x.dim(axis), "the size of a dimension");
  op.params.offsets[2] = narrow_u32(x.layout.stride(axis), "the stride of a dimension");
  op.params.offsets[1] = source.offset();
  op.operands[1] = source.read();
  op.run(*stream_, "gather");
}

void WgpuBackend::scatter_add(const View& x, int axis, const View& index, const View& y) {
  if (x.elements() == 0 || y.elements() == 0) {
    return;
  }
  axis = axis < 0 ? axis + x.rank() : axis;
  require(x, DType::F32, "scatter_add");
  require(index, DType::U32, "scatter_add");
  require(y, DType::F32, "scatter_add");
  const Bound source(x, "scatter_add");
  const Bound places(index, "scatter_add");
  const Bound target(y, "scatter_add");
  Layout lanes = without_axis(y.layout, axis);
  lanes.shape = x.shape().removed(axis);
  std::array<Layout, 3> walks = {without_axis(x.layout, axis), without_axis(index.layout, axis),
                                 lanes};
  merge_together(walks);
  ScatterAddParams params{};
  params.sizes = walk_sizes(walks[0]);
  params.x_strides = walk_strides(walks[0]);
  params.index_strides = walk_strides(walks[1]);
  params.y_strides = walk_strides(walks[2]);
  params.rank = static_cast<uint32_t>(walks[0].rank());
  params.lanes = narrow_u32(walks[0].elements(), "the number of lanes");
  params.length = narrow_u32(x.dim(axis), "the size of a dimension");
  params.limit = narrow_u32(y.dim(axis), "the size of a dimension");
  params.x_offset = source.offset();
  params.x_stride = narrow_u32(x.layout.stride(axis), "the stride of a dimension");
  params.index_offset = places.offset();
  params.index_stride = narrow_u32(index.layout.stride(axis), "the stride of a dimension");
  params.y_offset = target.offset();
  params.y_stride = narrow_u32(y.layout.stride(axis), "the stride of a dimension");
  stream_->dispatch({"scatter_add"}, grid_for((uint64_t{params.lanes} + 63) / 64), params,
                    {source.read(), places.read(), target.write()});
}

}  // namespace candela::wgpu
