// moe_block for one token in three dispatches: norm and router, routing with gate and up, down with
// the weighted sum and the residual.
#include <algorithm>

#include "backend/wgpu/rows.h"
#include "backend/wgpu/wgpu_backend.h"

namespace candela::wgpu {
namespace {

constexpr int64_t kMostExperts = 256;  // that a workgroup ranks

struct GateUpParams {
  uint32_t experts, k, hidden, inner;
  uint32_t x_offset, norm_offset, logits_offset, gate_start, up_start, w_stride;
  uint32_t act_offset, route_offset;
  float eps;
};

struct DownParams {
  uint32_t k, hidden, inner, x_offset, route_offset, w_start, w_stride;
  uint32_t residual_offset, y_offset;
};

uint32_t offset(const View& view) {
  return narrow_u32(view.layout.offset, "an offset of moe_block");
}

uint64_t blocks(uint64_t count, uint64_t size) {
  return (count + size - 1) / size;
}

KernelId expert_kernel(const Limits& limits,
                       const char* name,
                       uint32_t team,
                       const Weight& weight,
                       bool vec4,
                       bool x_vec4) {
  KernelId kernel{name};
  define_weight(kernel, weight.dtype, vec4);
  substitute_types(kernel, vec4, x_vec4);
  kernel.substitutions.emplace_back("TEAM", std::to_string(team));
  define_subgroups(kernel, limits, team);
  return kernel;
}

}  // namespace

void WgpuBackend::moe_block(const MoeBlockArgs& args, const View& y) {
  const Weight gate = weight_rows(args.gate, "moe_block");
  const Weight up = weight_rows(args.up, "moe_block");
  const Weight down = weight_rows(args.down, "moe_block");
  const int64_t experts = args.router.dim(0);
  const bool fits = args.x.dim(0) == 1 && experts <= kMostExperts && gate.is_whole() &&
                    up.is_whole() && down.is_whole() && gate.dtype == up.dtype &&
                    norm_by_eights(args.norm_weight) && rows_of(args.x).vec4() &&
                    y.dtype == DType::F32 && y.layout.is_contiguous() && args.gate.dim(1) > 0;
  if (!fits) {
    return Backend::moe_block(args, y);
  }
  LinearArgs router;
  router.x = args.x;
  router.norm_weight = args.norm_weight;
  router.norm_eps = args.norm_eps;
  router.weight = args.router;
  const View logits = scratch(Shape{1, experts}, DType::F32);
  linear(router, logits);

  const int64_t k = args.experts_per_token;
  const int64_t inner = args.gate.dim(1);
  const View act = scratch(Shape{k, inner}, DType::F32);
  const View route = scratch(Shape{2, k}, DType::U32);
  const bool vec4 = gate.vec4 && up.vec4;
  const uint32_t lanes = 256 / rows_a_workgroup(limits());
  const uint32_t team = std::min(tuning_.expert_gate_up_subgroups * lanes, 256u);
  KernelId first = expert_kernel(limits(), "moe_one_gate_up", team, gate, vec4, true);
  first.substitutions.emplace_back("SUMS", use_subgroups(limits()) ? "64" : "256");
  if (args.norm_weight.dtype == DType::BF16) {
    first.defines.emplace_back("NORM_BF16");
  }
  if (args.normalize) {
    first.defines.emplace_back("NORMALIZE");
  }
  const GateUpParams gate_up{narrow_u32(experts, "experts"),
                             narrow_u32(k, "experts of a token"),
                             gate.cols,
                             narrow_u32(inner, "the inner size of an expert"),
                             offset(args.x),
                             offset(args.norm_weight),
                             offset(logits),
                             gate.pieces[0].start,
                             up.pieces[0].start,
                             gate.stride,
                             offset(act),
                             offset(route),
                             args.norm_eps};
  stream_->dispatch(first, grid_for(blocks(gate_up.inner, 256 / team) * gate_up.k), gate_up,
                    {whole_in(args.x), whole_in(args.norm_weight), whole_in(logits), in(args.gate),
                     in(args.up), whole_out(act), whole_out(route)});

  KernelId second = expert_kernel(limits(), "moe_one_down", lanes, down, down.vec4,
                                  inner % 8 == 0 && act.layout.offset % 4 == 0);
  second.substitutions.emplace_back("ROWS", std::to_string(tuning_.expert_down_rows));
  const DownParams params{gate_up.k,   gate_up.hidden, gate_up.inner,
                          offset(act), offset(route),  down.pieces[0].start,
                          down.stride, offset(args.x), offset(y)};
  stream_->dispatch(
      second, grid_for(blocks(gate_up.hidden, tuning_.expert_down_rows)), params,
      {whole_in(act), whole_in(route), in(args.down), whole_in(args.x), whole_out(y)});
}

}  // namespace candela::wgpu
