#include "backend/wgpu/moe.h"

#include <cmath>
#include <vector>

#include "backend/wgpu/wgpu_backend.h"
#include "base/error.h"

namespace candela::wgpu {
namespace {

constexpr uint32_t kMostExperts = 1024;
constexpr uint32_t kMostRouted = 64;
/// Up to so many tokens a workgroup each is quicker than a subgroup, as a GPU has room for them.
constexpr uint32_t kFewRouted = 64;

struct RouteParams {
  uint32_t tokens, count, k;
  uint32_t logits_offset, logits_stride, experts_offset, weights_offset;
};

struct GateUpParams {
  uint32_t pairs, k, hidden, inner, row_begin, row_end;
  uint32_t x_offset, experts_offset, gate_start, up_start, w_stride, act_offset;
};

struct DownParams {
  uint32_t pairs, k, hidden, inner, row_begin, row_end;
  uint32_t x_offset, experts_offset, weights_offset, w_start, w_stride, y_offset, residual_offset;
};

KernelId expert_kernel(
    const MoeRun& run, const char* name, const Weight& weight, bool weight_vec4, bool x_vec4) {
  KernelId kernel{name};
  define_weight(kernel, weight.dtype, weight_vec4);
  substitute_types(kernel, weight_vec4, x_vec4);
  if (use_subgroups(run.limits)) {
    kernel.defines.emplace_back("SUBGROUPS");
  }
  return kernel;
}

void gate_up_pairs(const MoeRun& run, const View& act) {
  const bool vec4 = run.gate.vec4 && run.up.vec4;
  const KernelId kernel =
      expert_kernel(run, "moe_gate_up", run.gate, vec4, moe_vec4(run.x, run.hidden));
  const uint64_t groups = moe_blocks(run.inner, rows_a_workgroup(run.limits)) * run.pairs;
  for (const MoeBoth& both : moe_both(run.gate, run.up)) {
    const GateUpParams params{
        run.pairs,       run.k,         run.hidden,        run.inner,
        both.begin,      both.end,      moe_offset(run.x), moe_offset(run.experts),
        both.gate_start, both.up_start, run.gate.stride,   moe_offset(act)};
    run.stream.dispatch(kernel, grid_for(groups), params,
                        {whole_in(run.x), in(run.gate_view, both.gate_segment),
                         in(run.up_view, both.up_segment), whole_in(run.experts), whole_out(act)},
                        expert_work(run, run.gate, true, both.end - both.begin));
  }
}

/// Writes y (one segment), or the sums of every pair to `target` under `partial`.
void down_pairs(const MoeRun& run, const View& act, const View& target, bool partial) {
  KernelId kernel =
      expert_kernel(run, "moe_down", run.down, run.down.vec4, moe_vec4(act, run.inner));
  DownParams params{};
  params.pairs = run.pairs;
  params.k = run.k;
  params.hidden = run.hidden;
  params.inner = run.inner;
  params.x_offset = moe_offset(act);
  params.experts_offset = moe_offset(run.experts);
  params.weights_offset = moe_offset(run.weights);
  params.w_stride = run.down.stride;
  params.y_offset = moe_offset(target);
  if (partial) {
    kernel.defines.emplace_back("PARTIAL");
  } else if (run.residual) {
    kernel.defines.emplace_back("HAS_RESIDUAL");
    params.residual_offset = moe_offset(*run.residual);
  }
  const uint64_t groups =
      moe_blocks(run.hidden, rows_a_workgroup(run.limits)) * (partial ? run.pairs : run.tokens);
  for (const WeightPiece& piece : run.down.pieces) {
    params.row_begin = piece.begin;
    params.row_end = piece.end;
    params.w_start = piece.start;
    std::vector<Operand> operands{whole_in(act), in(run.down_view, piece.segment),
                                  whole_in(run.experts), whole_out(target)};
    if (!partial) {
      operands.push_back(whole_in(run.weights));
      if (run.residual) {
        operands.push_back(whole_in(*run.residual));
      }
    }
    run.stream.dispatch_bytes(kernel, grid_for(groups), std::as_bytes(std::span(&params, 1)),
                              operands, expert_work(run, run.down, false, piece.end - piece.begin));
  }
}

}  // namespace

Work expert_work(const MoeRun& run, const Weight& weight, bool gate_up, uint32_t rows) {
  const double experts = run.expert_count;
  const double read = experts * (1.0 - std::pow(1.0 - run.k / experts, run.tokens));
  const double results = rows / experts * (gate_up ? 2.0 : 1.0);  // of a pair
  const double row_bytes = static_cast<double>(dtype_bytes(weight.dtype, weight.cols));
  return {read * results * row_bytes + 4.0 * run.pairs * (weight.cols + results),
          2.0 * run.pairs * results * weight.cols, weight.rows / run.expert_count, weight.cols};
}

void WgpuBackend::moe_route(const MoeRouteArgs& args, const View& experts, const View& weights) {
  if (experts.elements() == 0) {
    return;
  }
  const View logits = with_rows(*this, args.logits);
  const Rows rows = rows_of(logits);
  const uint32_t k = narrow_u32(experts.dim(-1), "experts of a token");
  if (rows.cols > kMostExperts || k > kMostRouted || !experts.layout.is_contiguous() ||
      !weights.layout.is_contiguous()) {
    fail(ErrorKind::Unsupported, Subject::Device,
         "moe_route: {} of {} experts are not supported on WebGPU; at most {} of {}, written "
         "gapless, are.",
         k, rows.cols, kMostRouted, kMostExperts);
  }
  const RouteParams params{rows.rows,           rows.cols,          k, rows.offset, rows.stride,
                           moe_offset(experts), moe_offset(weights)};
  KernelId kernel{"moe_route"};
  if (args.normalize) {
    kernel.defines.emplace_back("NORMALIZE");
  }
  uint32_t tokens_at_once = 1;
  if (rows.rows > kFewRouted && use_subgroups(limits()) && k <= limits().subgroup_min &&
      rows.cols <= 32 * limits().subgroup_min) {
    kernel.defines.emplace_back("SUBGROUPS");
    kernel.substitutions.emplace_back("EXPERTS", "params.count");
    kernel.substitutions.emplace_back("K", "params.k");
    tokens_at_once = rows_a_workgroup(limits());
  }
  stream_->dispatch(kernel, grid_for(moe_blocks(rows.rows, tokens_at_once)), params,
                    {whole_in(logits), whole_out(experts), whole_out(weights)});
}

MoeRun moe_run(WgpuBackend& backend, const MoeArgs& args) {
  MoeRun run{backend.stream(),
             backend.limits(),
             dense(backend, args.x, DType::F32),
             dense(backend, args.experts),
             dense(backend, args.weights),
             std::nullopt,
             args.gate,
             args.up,
             args.down,
             weight_rows(args.gate, "moe"),
             weight_rows(args.up, "moe"),
             weight_rows(args.down, "moe"),
             narrow_u32(args.x.dim(0), "tokens"),
             narrow_u32(args.experts.dim(1), "experts of a token"),
             narrow_u32(args.experts.elements(), "pairs of token and expert"),
             narrow_u32(args.x.dim(1), "the hidden size"),
             narrow_u32(args.gate.dim(1), "the inner size"),
             narrow_u32(args.gate.dim(0), "experts"),
             backend.context().options().precision};
  if (run.gate.dtype != run.up.dtype || run.pairs == 0 || run.inner == 0) {
    fail(ErrorKind::Unsupported, Subject::Device,
         "moe: gate of type {} with up of type {} and {} pairs is not supported on WebGPU; store "
         "both alike.",
         dtype_name(run.gate.dtype), dtype_name(run.up.dtype), run.pairs);
  }
  if (args.residual) {
    run.residual = dense(backend, *args.residual, DType::F32);
  }
  return run;
}

void WgpuBackend::moe(const MoeArgs& args, const View& y) {
  if (y.elements() == 0) {
    return;
  }
  RowTarget target(*this, y);
  const View to =
      target.view().layout.is_contiguous() ? target.view() : temporary(*this, y.shape());
  const MoeRun run = moe_run(*this, args);
  if (moe_is_many(run)) {
    moe_many(run, *this, to);
  } else {
    const View act = temporary(*this, Shape{run.pairs, run.inner});
    gate_up_pairs(run, act);
    if (run.down.is_whole()) {
      down_pairs(run, act, to, false);
    } else {
      const View part = temporary(*this, Shape{run.pairs, run.hidden});
      down_pairs(run, act, part, true);
      moe_combine(run, part, to);
    }
  }
  if (to.storage != y.storage) {
    copy(to, y);
  }
}

}  // namespace candela::wgpu
