#pragma once

#include <cstdint>

#include "backend/op_args.h"
#include "backend/wgpu/rows.h"

/// What the kernels of attention share on the host.
namespace candela::wgpu {

class WgpuBackend;

/// What keys and values are kept as; recent pages are F16.
inline bool is_cache_type(DType dtype) {
  return dtype == DType::F32 || dtype == DType::BF16 || dtype == DType::Q8_16;
}

/// Whether kernels on matrix cores run here, with the subgroups and the workgroup memory that they
/// are written for.
inline bool has_matrix_cores(const Limits& limits) {
  constexpr uint32_t kSubgroup = 32;
  constexpr uint32_t kWorkgroupBytes = 48 * 1024;
  return limits.subgroup_matrix && limits.shader_f16 && limits.subgroup_min == kSubgroup &&
         limits.subgroup_max == kSubgroup && limits.max_workgroup_bytes >= kWorkgroupBytes;
}

inline bool last_gapless(const View& view) {
  return view.dim(-1) <= 1 || view.layout.stride(-1) == 1;
}

inline uint32_t stride_of(const View& view, int axis) {
  return narrow_u32(view.layout.stride(axis), "a stride of attention");
}

inline uint32_t offset_of(const View& view) {
  return narrow_u32(view.layout.offset, "an offset of attention");
}

/// Whether every row of [a, b, c, dim] (of fewer axes likewise) begins at a multiple of `step`
/// elements and has a multiple of them.
bool rows_begin_at(const View& view, int64_t step);

/// y [tokens, heads, dim] = what the `splits` of attention_decode or attention_step in `part` are
/// together.
void merge_splits(WgpuBackend& backend, const View& part, uint32_t splits, const View& y);

/// Splits that attention_output joins, at most.
inline constexpr uint32_t kMostJoined = 4;
/// Whether it takes this projection, with this residual, of one token's heads [1, heads, dim].
bool can_join(const Limits& limits,
              const OutputProjection& output,
              const View& residual,
              const View& q,
              const View& y);
/// y = residual + weight . what the `splits` of attention_step in `part` are together.
void join_and_project(WgpuBackend& backend,
                      const View& weight,
                      const View& residual,
                      const View& part,
                      const View& q,
                      uint32_t splits,
                      const View& y);

/// Of queries [tokens, heads, dim], equally many of each sequence, whose last ones see `max_span`
/// keys.
Work attention_work(const View& q, const View& k_cache, int64_t sequences, int64_t max_span);

}  // namespace candela::wgpu
