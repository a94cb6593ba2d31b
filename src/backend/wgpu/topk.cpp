#include <algorithm>
#include <array>

#include "backend/wgpu/walk.h"
#include "backend/wgpu/wgpu_backend.h"
#include "base/error.h"

namespace candela::wgpu {
namespace {

struct TopkParams {
  WalkNumbers sizes, x_strides, y_strides, z_strides;
  uint32_t rank, rows, cols, chunks, k, x_offset, x_stride, x_kind;
  uint32_t y_offset, y_stride, z_offset, z_stride;
};

/// Elements a workgroup sorts out, in its workgroup memory.
constexpr int64_t kChunk = 2048;
constexpr int64_t kMaxK = 64;

/// One stage: each chunk of the rows of `from`, which holds `candidates` a row, leaves k of them.
TopkParams stage_params(
    const View& from, int64_t candidates, int64_t chunks, const View& values, const View& indices) {
  std::array<Layout, 3> walks = {without_axis(from.layout, from.rank() - 1),
                                 without_axis(values.layout, values.rank() - 1),
                                 without_axis(indices.layout, indices.rank() - 1)};
  merge_together(walks);
  TopkParams params{};
  params.sizes = walk_sizes(walks[0]);
  params.x_strides = walk_strides(walks[0]);
  params.y_strides = walk_strides(walks[1]);
  params.z_strides = walk_strides(walks[2]);
  params.rank = static_cast<uint32_t>(walks[0].rank());
  params.rows = narrow_u32(walks[0].elements(), "the number of rows");
  params.cols = narrow_u32(candidates, "the length of a row");
  params.chunks = static_cast<uint32_t>(chunks);
  params.k = static_cast<uint32_t>(values.dim(-1));
  params.x_stride = narrow_u32(from.layout.stride(-1), "the stride of a dimension");
  params.y_stride = narrow_u32(values.layout.stride(-1), "the stride of a dimension");
  params.z_stride = narrow_u32(indices.layout.stride(-1), "the stride of a dimension");
  narrow_u32(int64_t{params.rows} * chunks * values.dim(-1) * 2, "the number of candidates");
  return params;
}

}  // namespace

void WgpuBackend::top_k(const View& x, const View& values, const View& indices) {
  if (values.elements() == 0) {
    return;
  }
  const int64_t k = values.dim(-1);
  if (k > kMaxK || k > x.dim(-1)) {
    fail(ErrorKind::InvalidArgument, Subject::Input,
         "top_k: {} elements are asked for, and at most {} of a row of {} can be had.", k, kMaxK,
         x.dim(-1));
  }
  if (values.dtype != DType::F32) {
    const View result = scratch(values.shape(), DType::F32);
    top_k(x, result, indices);
    copy(result, values);
    return;
  }
  const Bound best(values, "top_k");
  const Bound places(indices, "top_k");
  const uint32_t kind = float_kind(x, "top_k");
  const Shape rows = x.shape().removed(x.rank() - 1);
  View from = x;
  // Every stage leaves k candidates of each chunk, in the order of the row where they are equal.
  for (bool first = true, last = false; !last; first = false) {
    const int64_t candidates = first ? x.dim(-1) : from.dim(-1) / 2;
    const int64_t chunks = (candidates + kChunk - 1) / kChunk;
    last = chunks == 1;
    const View pairs =
        last ? View{} : scratch(rows.inserted(rows.rank(), chunks * k * 2), DType::U32);
    const Bound source(from, "top_k");
    TopkParams params = stage_params(from, candidates, chunks, values, indices);
    params.x_offset = source.offset();
    params.x_kind = kind;
    params.y_offset = best.offset();
    params.z_offset = places.offset();
    KernelId kernel{"topk"};
    if (!first) {
      kernel.defines.emplace_back("PAIRS_IN");
    }
    const Grid grid = grid_for(uint64_t{params.rows} * params.chunks);
    if (last) {
      stream_->dispatch(kernel, grid, params, {source.read(), best.write(), places.write()});
    } else {
      kernel.defines.emplace_back("PAIRS_OUT");
      stream_->dispatch(kernel, grid, params, {source.read(), Bound(pairs, "top_k").write()});
      from = pairs;
    }
  }
}

}  // namespace candela::wgpu
