// moe_block for one token in three dispatches: norm and router, routing with gate and up, down with
// the weighted sum and the residual.
#include <algorithm>

#include "backend/wgpu/moe.h"
#include "backend/wgpu/rows.h"
#include "backend/wgpu/wgpu_backend.h"

namespace candela::wgpu {
namespace {

/// That a workgroup ranks: a bit of 32 for each that a lane looks at.
int64_t most_experts(const Limits& limits) {
  return use_subgroups(limits) ? std::min<int64_t>(256, 32 * int64_t{limits.subgroup_min}) : 256;
}

/// Steps that a thread makes in an unrolled loop: more take registers from the loads of other
/// threads.
constexpr uint32_t kGateUpRound = 2;
constexpr uint32_t kDownRound = 4;

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

/// The block's operands, resolved, and what goes between its dispatches.
struct OneToken {
  WgpuBackend& backend;
  const MoeBlockArgs& args;
  Weight gate, up, down;
  View logits, act, route;

  const Limits& limits() const { return backend.limits(); }
  /// Of the chosen experts, each of which makes `rows` results.
  Work work(const Weight& weight, uint32_t rows) const {
    const auto all = static_cast<uint32_t>(args.experts_per_token * int64_t{rows});
    Work work = product_work(1, weight, {0, 0, all, 0});
    work.weight_rows = weight.rows / narrow_u32(args.router.dim(0), "experts");
    return work;
  }
  uint32_t lanes() const { return 256 / rows_a_workgroup(limits()); }
  bool fits(const View& y) const {
    return args.x.dim(0) == 1 && args.router.dim(0) <= most_experts(limits()) && gate.is_whole() &&
           up.is_whole() && down.is_whole() && gate.dtype == up.dtype &&
           norm_by_eights(args.norm_weight) && rows_of(args.x).vec4() && y.dtype == DType::F32 &&
           y.layout.is_contiguous() && args.gate.dim(1) > 0;
  }
};

void gate_up(const OneToken& one) {
  const MoeBlockArgs& args = one.args;
  const uint32_t team = std::min(one.backend.tuning().expert_gate_up_subgroups * one.lanes(), 256u);
  KernelId kernel = expert_kernel(one.limits(), "moe_one_gate_up", team, one.gate,
                                  one.gate.vec4 && one.up.vec4, true);
  kernel.substitutions.emplace_back("SUMS", use_subgroups(one.limits()) ? "64" : "256");
  if (args.norm_weight.dtype == DType::BF16) {
    kernel.defines.emplace_back("NORM_BF16");
  }
  if (args.normalize) {
    kernel.defines.emplace_back("NORMALIZE");
  }
  const GateUpParams params{narrow_u32(args.router.dim(0), "experts"),
                            narrow_u32(args.experts_per_token, "experts of a token"),
                            one.gate.cols,
                            narrow_u32(args.gate.dim(1), "the inner size of an expert"),
                            offset(args.x),
                            offset(args.norm_weight),
                            offset(one.logits),
                            one.gate.pieces[0].start,
                            one.up.pieces[0].start,
                            one.gate.stride,
                            offset(one.act),
                            offset(one.route),
                            args.norm_eps};
  define_round(kernel, params.hidden, team, kGateUpRound);
  define_sizes(kernel, has_fixed_sizes(one.gate) && has_fixed_sizes(one.up),
               {{"EXPERTS", "params.experts", params.experts},
                {"K", "params.k", params.k},
                {"HIDDEN", "params.hidden", params.hidden},
                {"INNER", "params.inner", params.inner},
                {"GATE_START", "params.gate_start", params.gate_start},
                {"UP_START", "params.up_start", params.up_start},
                {"W_STRIDE", "params.w_stride", params.w_stride}});
  one.backend.stream().dispatch(
      kernel, grid_for(blocks(params.inner, 256 / team) * params.k), params,
      {whole_in(args.x), whole_in(args.norm_weight), whole_in(one.logits), in(args.gate),
       in(args.up), whole_out(one.act), whole_out(one.route)},
      one.work(one.gate, 2 * params.inner));
}

void down(const OneToken& one, const View& y) {
  const uint32_t rows = one.backend.tuning().expert_down_rows;
  const bool x_vec4 = one.down.cols % 8 == 0 && one.act.layout.offset % 4 == 0;
  KernelId kernel =
      expert_kernel(one.limits(), "moe_one_down", one.lanes(), one.down, one.down.vec4, x_vec4);
  kernel.substitutions.emplace_back("ROWS", std::to_string(rows));
  const DownParams params{narrow_u32(one.act.dim(0), "experts of a token"),
                          narrow_u32(y.dim(1), "the hidden size"),
                          one.down.cols,
                          offset(one.act),
                          offset(one.route),
                          one.down.pieces[0].start,
                          one.down.stride,
                          offset(one.args.x),
                          offset(y)};
  define_round(kernel, params.inner, one.lanes(), kDownRound);
  define_sizes(kernel, has_fixed_sizes(one.down),
               {{"K", "params.k", params.k},
                {"HIDDEN", "params.hidden", params.hidden},
                {"INNER", "params.inner", params.inner},
                {"W_START", "params.w_start", params.w_start},
                {"W_STRIDE", "params.w_stride", params.w_stride}});
  one.backend.stream().dispatch(kernel, grid_for(blocks(params.hidden, rows)), params,
                                {whole_in(one.act), whole_in(one.route), in(one.args.down),
                                 whole_in(one.args.x), whole_out(y)},
                                one.work(one.down, params.hidden));
}

}  // namespace

bool moe_one(WgpuBackend& backend, const MoeBlockArgs& args, const View& y) {
  OneToken one{backend,
               args,
               weight_rows(args.gate, "moe_block"),
               weight_rows(args.up, "moe_block"),
               weight_rows(args.down, "moe_block"),
               {},
               {},
               {}};
  if (!one.fits(y)) {
    return false;
  }
  one.logits = temporary(backend, {1, args.router.dim(0)});
  one.act = temporary(backend, {args.experts_per_token, args.gate.dim(1)});
  one.route = temporary(backend, {2, args.experts_per_token}, DType::U32);
  LinearArgs router;
  router.x = args.x;
  router.norm_weight = args.norm_weight;
  router.norm_eps = args.norm_eps;
  router.weight = args.router;
  backend.linear(router, one.logits);
  gate_up(one);
  down(one, y);
  return true;
}

}  // namespace candela::wgpu
