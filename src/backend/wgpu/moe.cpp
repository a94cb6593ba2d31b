#include <algorithm>
#include <optional>
#include <vector>

#include "backend/wgpu/rows.h"
#include "backend/wgpu/wgpu_backend.h"
#include "base/error.h"

namespace candela::wgpu {
namespace {

/// From this many tokens on the pairs are sorted by expert and multiplied by tiles.
constexpr uint32_t kManyTokens = 32;
constexpr uint32_t kPairTile = 32;
constexpr uint32_t kRowTile = 64;
constexpr uint32_t kMostExperts = 1024;
constexpr uint32_t kMostRouted = 64;

struct RouteParams {
  uint32_t tokens, count, k, normalize;
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

struct CombineParams {
  uint32_t tokens, k, hidden, part_offset, weights_offset, y_offset, residual_offset;
};

struct GroupParams {
  uint32_t pairs, experts_count, experts_offset, plan_offset, order_offset;
};

struct TileParams {
  uint32_t k, cols, rows, row_begin, row_end, x_offset, plan_offset, order_offset;
  uint32_t w_start, up_start, w_stride, y_offset;
};

/// Rows that lie in one segment of both gate and up.
struct Both {
  uint32_t begin = 0, end = 0;
  size_t gate_segment = 0, up_segment = 0;
  uint32_t gate_start = 0, up_start = 0;
};

std::vector<Both> intersect(const Weight& gate, const Weight& up) {
  std::vector<Both> result;
  for (const WeightPiece& g : gate.pieces) {
    for (const WeightPiece& u : up.pieces) {
      const uint32_t begin = std::max(g.begin, u.begin);
      const uint32_t end = std::min(g.end, u.end);
      if (begin < end) {
        result.push_back({begin, end, g.segment, u.segment,
                          g.start + (begin - g.begin) * gate.stride,
                          u.start + (begin - u.begin) * up.stride});
      }
    }
  }
  return result;
}

/// One run of the op: everything the dispatches share.
struct Run {
  Stream& stream;
  const Limits& limits;
  View x, experts, weights;
  std::optional<View> residual;
  View gate_view, up_view, down_view;
  Weight gate, up, down;
  uint32_t tokens, k, pairs, hidden, inner, expert_count;
};

uint32_t offset(const View& view) {
  return narrow_u32(view.layout.offset, "an offset of moe");
}

uint64_t blocks(uint64_t count, uint64_t size) {
  return (count + size - 1) / size;
}

bool can_vec4(const View& view, uint32_t cols) {
  return cols % 8 == 0 && view.layout.offset % 4 == 0;
}

KernelId expert_kernel(
    const Run& run, const char* name, const Weight& weight, bool weight_vec4, bool x_vec4) {
  KernelId kernel{name};
  define_weight(kernel, weight.dtype, weight_vec4);
  substitute_types(kernel, weight_vec4, x_vec4);
  if (use_subgroups(run.limits)) {
    kernel.defines.emplace_back("SUBGROUPS");
  }
  return kernel;
}

void gate_up_pairs(const Run& run, const View& act) {
  const bool vec4 = run.gate.vec4 && run.up.vec4;
  const KernelId kernel =
      expert_kernel(run, "moe_gate_up", run.gate, vec4, can_vec4(run.x, run.hidden));
  const uint64_t groups = blocks(run.inner, rows_a_workgroup(run.limits)) * run.pairs;
  for (const Both& both : intersect(run.gate, run.up)) {
    const GateUpParams params{run.pairs,       run.k,         run.hidden,      run.inner,
                              both.begin,      both.end,      offset(run.x),   offset(run.experts),
                              both.gate_start, both.up_start, run.gate.stride, offset(act)};
    run.stream.dispatch(kernel, grid_for(groups), params,
                        {whole_in(run.x), in(run.gate_view, both.gate_segment),
                         in(run.up_view, both.up_segment), whole_in(run.experts), whole_out(act)});
  }
}

/// Writes y (one segment), or the sums of every pair to `target` under `partial`.
void down_pairs(const Run& run, const View& act, const View& target, bool partial) {
  KernelId kernel =
      expert_kernel(run, "moe_down", run.down, run.down.vec4, can_vec4(act, run.inner));
  DownParams params{};
  params.pairs = run.pairs;
  params.k = run.k;
  params.hidden = run.hidden;
  params.inner = run.inner;
  params.x_offset = offset(act);
  params.experts_offset = offset(run.experts);
  params.weights_offset = offset(run.weights);
  params.w_stride = run.down.stride;
  params.y_offset = offset(target);
  if (partial) {
    kernel.defines.emplace_back("PARTIAL");
  } else if (run.residual) {
    kernel.defines.emplace_back("HAS_RESIDUAL");
    params.residual_offset = offset(*run.residual);
  }
  const uint64_t groups =
      blocks(run.hidden, rows_a_workgroup(run.limits)) * (partial ? run.pairs : run.tokens);
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
                              operands);
  }
}

void combine(const Run& run, const View& part, const View& y) {
  KernelId kernel{"moe_combine"};
  CombineParams params{run.tokens,          run.k,     run.hidden, offset(part),
                       offset(run.weights), offset(y), 0};
  const Grid grid = grid_for(blocks(uint64_t{run.tokens} * run.hidden, 256));
  if (run.residual) {
    kernel.defines.emplace_back("HAS_RESIDUAL");
    params.residual_offset = offset(*run.residual);
    run.stream.dispatch(
        kernel, grid, params,
        {whole_in(part), whole_in(run.weights), whole_out(y), whole_in(*run.residual)});
  } else {
    run.stream.dispatch(kernel, grid, params,
                        {whole_in(part), whole_in(run.weights), whole_out(y)});
  }
}

/// The plan of moe_group: count, tiles, order of the pairs.
struct Plan {
  View view;
  uint32_t tiles;  ///< at most
  uint32_t order_offset;
};

Plan group_pairs(const Run& run, Backend& backend) {
  const uint32_t tiles = run.pairs / kPairTile + std::min(run.pairs, run.expert_count);
  const uint32_t order = 1 + 3 * tiles;
  Plan plan{temporary(backend, Shape{int64_t{order} + run.pairs}, DType::U32), tiles, 0};
  plan.order_offset = offset(plan.view) + order;
  KernelId kernel{"moe_group"};
  kernel.substitutions.emplace_back("TILE", std::to_string(kPairTile));
  const GroupParams params{run.pairs, run.expert_count, offset(run.experts), offset(plan.view),
                           plan.order_offset};
  run.stream.dispatch(kernel, Grid{1}, params, {whole_in(run.experts), whole_out(plan.view)});
  return plan;
}

void gate_up_tiles(const Run& run, const Plan& plan, const View& act) {
  const bool vec4 = run.gate.vec4 && run.up.vec4;
  KernelId kernel{"moe_tile", {"GATE_UP"}, {{"PIECES", "320"}}};
  define_weight(kernel, run.gate.dtype, vec4);
  substitute_types(kernel, vec4, can_vec4(run.x, run.hidden));
  const uint64_t groups = blocks(run.inner, kRowTile) * plan.tiles;
  for (const Both& both : intersect(run.gate, run.up)) {
    const TileParams params{run.k,           run.hidden,    run.inner,         both.begin,
                            both.end,        offset(run.x), offset(plan.view), plan.order_offset,
                            both.gate_start, both.up_start, run.gate.stride,   offset(act)};
    run.stream.dispatch(kernel, grid_for(groups), params,
                        {whole_in(run.x), in(run.gate_view, both.gate_segment), whole_in(plan.view),
                         whole_out(act), in(run.up_view, both.up_segment)});
  }
}

void down_tiles(const Run& run, const Plan& plan, const View& act, const View& part) {
  KernelId kernel{"moe_tile", {}, {{"PIECES", "192"}}};
  define_weight(kernel, run.down.dtype, run.down.vec4);
  substitute_types(kernel, run.down.vec4, can_vec4(act, run.inner));
  const uint64_t groups = blocks(run.hidden, kRowTile) * plan.tiles;
  for (const WeightPiece& piece : run.down.pieces) {
    const TileParams params{run.k,       run.inner,   run.hidden,        piece.begin,
                            piece.end,   offset(act), offset(plan.view), plan.order_offset,
                            piece.start, 0,           run.down.stride,   offset(part)};
    run.stream.dispatch(
        kernel, grid_for(groups), params,
        {whole_in(act), in(run.down_view, piece.segment), whole_in(plan.view), whole_out(part)});
  }
}

}  // namespace

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
  const RouteParams params{
      rows.rows,       rows.cols,      k, args.normalize ? 1u : 0u, rows.offset, rows.stride,
      offset(experts), offset(weights)};
  stream_->dispatch({"moe_route"}, grid_for(rows.rows), params,
                    {whole_in(logits), whole_out(experts), whole_out(weights)});
}

void WgpuBackend::moe(const MoeArgs& args, const View& y) {
  if (y.elements() == 0) {
    return;
  }
  RowTarget target(*this, y);
  const View to =
      target.view().layout.is_contiguous() ? target.view() : temporary(*this, y.shape());
  Run run{*stream_,
          limits(),
          dense(*this, args.x, DType::F32),
          dense(*this, args.experts),
          dense(*this, args.weights),
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
          narrow_u32(args.gate.dim(0), "experts")};
  if (run.gate.dtype != run.up.dtype || run.pairs == 0 || run.inner == 0) {
    fail(ErrorKind::Unsupported, Subject::Device,
         "moe: gate of type {} with up of type {} and {} pairs is not supported on WebGPU; store "
         "both alike.",
         dtype_name(run.gate.dtype), dtype_name(run.up.dtype), run.pairs);
  }
  if (args.residual) {
    run.residual = dense(*this, *args.residual, DType::F32);
  }
  const View act = temporary(*this, Shape{run.pairs, run.inner});
  const bool many = run.tokens >= kManyTokens && run.expert_count <= kMostExperts;
  if (many) {
    const Plan plan = group_pairs(run, *this);
    const View part = temporary(*this, Shape{run.pairs, run.hidden});
    gate_up_tiles(run, plan, act);
    down_tiles(run, plan, act, part);
    combine(run, part, to);
  } else {
    gate_up_pairs(run, act);
    if (run.down.is_whole()) {
      down_pairs(run, act, to, false);
    } else {
      const View part = temporary(*this, Shape{run.pairs, run.hidden});
      down_pairs(run, act, part, true);
      combine(run, part, to);
    }
  }
  if (to.storage != y.storage) {
    copy(to, y);
  }
}

}  // namespace candela::wgpu
