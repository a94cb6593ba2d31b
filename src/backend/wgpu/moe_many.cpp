#include <algorithm>

#include "backend/wgpu/moe.h"
#include "backend/wgpu/wgpu_backend.h"

namespace candela::wgpu {
namespace {

/// Up to this many tokens the weights stream through registers once a tile of few pairs; beyond,
/// blocks of pairs and rows meet in workgroup memory.
constexpr uint32_t kMostFew = 64;
constexpr uint32_t kFewTile = 4;
/// Rows of a matrix, or of gate and up together, that a workgroup of moe_few takes, as a multiple
/// of rows_a_workgroup: it has half of the threads, and each subgroup takes four.
constexpr uint32_t kFewRows = 2;
/// Steps that its threads make in an unrolled loop.
constexpr uint32_t kFewRound = 4;
constexpr uint32_t kPairTile = 32;
constexpr uint32_t kRowTile = 64;
constexpr uint32_t kMostExperts = 1024;
/// Tiles are a direction of the grids that moe_group writes.
constexpr uint32_t kMostTiles = 65535;

struct CombineParams {
  uint32_t tokens, k, hidden, part_offset, weights_offset, y_offset, residual_offset;
};

struct GroupParams {
  uint32_t pairs, tile, experts_count, experts_offset, plan_offset, order_offset;
  uint32_t grids_offset, wide_blocks, narrow_blocks;
};

/// Of moe_few and moe_tile.
struct TileParams {
  uint32_t k, cols, rows, row_begin, row_end, x_offset, plan_offset, order_offset;
  uint32_t w_start, up_start, w_stride, y_offset;
};

bool are_few(const MoeRun& run) {
  return run.tokens <= kMostFew;
}

/// Blocks of rows that a workgroup of moe_few makes one after the other: what it has to look up
/// before takes as long as a block. Fewer workgroups than a large GPU holds would cost more.
uint32_t few_times(uint32_t tokens, bool gate_up) {
  if (tokens > 32) {
    return 4;
  }
  return gate_up && tokens <= 16 ? 1 : 2;
}

/// A kernel over the tiles of the plan, and how many rows of results its workgroups make.
struct TileKernel {
  KernelId id;
  uint32_t rows;
};

TileKernel tile_kernel(
    const MoeRun& run, const Weight& weight, bool weight_vec4, bool x_vec4, bool gate_up) {
  const bool few = are_few(run);
  TileKernel kernel{{few ? "moe_few" : "moe_tile"}, kRowTile};
  if (gate_up) {
    kernel.id.defines.emplace_back("GATE_UP");
  }
  if (few) {
    const uint32_t times = few_times(run.tokens, gate_up);
    kernel.rows = rows_a_workgroup(run.limits) * kFewRows / (gate_up ? 2 : 1) * times;
    kernel.id.substitutions.emplace_back("TIMES", std::to_string(times));
    if (use_subgroups(run.limits)) {
      kernel.id.defines.emplace_back("SUBGROUPS");
    }
    define_round(kernel.id, weight.cols, use_subgroups(run.limits) ? run.limits.subgroup_max : 32,
                 kFewRound);
    if (weight_vec4 && x_vec4 && (weight.dtype == DType::BF16 || weight.dtype == DType::F16)) {
      define_pairs(kernel.id, weight.dtype);
      return kernel;
    }
  } else {
    kernel.id.substitutions.emplace_back("PIECES", gate_up ? "320" : "192");
  }
  define_weight(kernel.id, weight.dtype, weight_vec4);
  substitute_types(kernel.id, weight_vec4, x_vec4);
  return kernel;
}

void gate_up_tiles(const MoeRun& run,
                   const MoePlan& plan,
                   const TileKernel& kernel,
                   const View& act) {
  for (const MoeBoth& both : moe_both(run.gate, run.up)) {
    const TileParams params{run.k,
                            run.hidden,
                            run.inner,
                            both.begin,
                            both.end,
                            moe_offset(run.x),
                            moe_offset(plan.view),
                            plan.order_offset,
                            both.gate_start,
                            both.up_start,
                            run.gate.stride,
                            moe_offset(act)};
    run.stream.dispatch(kernel.id, plan.wide, params,
                        {whole_in(run.x), in(run.gate_view, both.gate_segment), whole_in(plan.view),
                         whole_out(act), in(run.up_view, both.up_segment)},
                        expert_work(run, run.gate, true, both.end - both.begin));
  }
}

void down_tiles(const MoeRun& run,
                const MoePlan& plan,
                const TileKernel& kernel,
                const View& act,
                const View& part) {
  for (const WeightPiece& piece : run.down.pieces) {
    const TileParams params{run.k,
                            run.inner,
                            run.hidden,
                            piece.begin,
                            piece.end,
                            moe_offset(act),
                            moe_offset(plan.view),
                            plan.order_offset,
                            piece.start,
                            0,
                            run.down.stride,
                            moe_offset(part)};
    run.stream.dispatch(
        kernel.id, plan.narrow, params,
        {whole_in(act), in(run.down_view, piece.segment), whole_in(plan.view), whole_out(part)},
        expert_work(run, run.down, false, piece.end - piece.begin));
  }
}

}  // namespace

MoePlan moe_plan(const MoeRun& run, WgpuBackend& backend, const MoeCut& cut) {
  const uint32_t tiles = run.pairs / cut.pairs + std::min(run.pairs, run.expert_count);
  if (tiles > kMostTiles) {
    fail(ErrorKind::Unsupported, Subject::Device,
         "Experts of {} tokens at once are more than one WebGPU dispatch can do; use a smaller "
         "chunk.",
         run.tokens);
  }
  const uint32_t order = 1 + 3 * tiles;
  const uint32_t grids = order + run.pairs;
  const auto wide_blocks = static_cast<uint32_t>(moe_blocks(run.inner, cut.wide_rows));
  const auto narrow_blocks = static_cast<uint32_t>(moe_blocks(run.hidden, cut.narrow_rows));
  MoePlan plan;
  plan.view = temporary(backend, Shape{int64_t{grids} + 6}, DType::U32);
  plan.order_offset = moe_offset(plan.view) + order;
  // Recorded steps of few tokens have no time for checks.
  if (backend.tuning().counted_expert_tiles != 0 && !are_few(run)) {
    plan.wide = counted_grid(plan.view, grids);
    plan.narrow = counted_grid(plan.view, grids + 3);
  } else {
    plan.wide = {wide_blocks, tiles};
    plan.narrow = {narrow_blocks, tiles};
  }
  const GroupParams params{run.pairs,
                           cut.pairs,
                           run.expert_count,
                           moe_offset(run.experts),
                           moe_offset(plan.view),
                           plan.order_offset,
                           moe_offset(plan.view) + grids,
                           wide_blocks,
                           narrow_blocks};
  KernelId kernel{"moe_group"};
  kernel.substitutions.emplace_back("AHEAD", run.pairs > 1024 ? "16" : "4");
  run.stream.dispatch(kernel, grid_for(run.expert_count), params,
                      {whole_in(run.experts), whole_out(plan.view)});
  return plan;
}

std::vector<MoeBoth> moe_both(const Weight& gate, const Weight& up) {
  std::vector<MoeBoth> result;
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

void moe_combine(const MoeRun& run, const View& part, const View& y) {
  const bool by_four = moe_vec4(part, run.hidden) && moe_vec4(y, run.hidden) &&
                       (!run.residual || moe_vec4(*run.residual, run.hidden));
  const uint32_t unit = by_four ? 4 : 1;
  KernelId kernel{"moe_combine"};
  kernel.substitutions.emplace_back("VALUE", by_four ? "vec4<f32>" : "f32");
  CombineParams params{run.tokens,
                       run.k,
                       run.hidden / unit,
                       moe_offset(part) / unit,
                       moe_offset(run.weights),
                       moe_offset(y) / unit,
                       0};
  const Grid grid = grid_for(moe_blocks(uint64_t{run.tokens} * params.hidden, 256));
  if (run.residual) {
    kernel.defines.emplace_back("HAS_RESIDUAL");
    params.residual_offset = moe_offset(*run.residual) / unit;
    run.stream.dispatch(
        kernel, grid, params,
        {whole_in(part), whole_in(run.weights), whole_out(y), whole_in(*run.residual)});
  } else {
    run.stream.dispatch(kernel, grid, params,
                        {whole_in(part), whole_in(run.weights), whole_out(y)});
  }
}

bool moe_wants_matrix(uint32_t tokens, int64_t experts) {
  return tokens > kMostFew && experts <= kMostExperts;
}

bool moe_is_many(const MoeRun& run) {
  return run.tokens > 1 && run.expert_count <= kMostExperts;
}

void moe_many(const MoeRun& run, WgpuBackend& backend, const View& y) {
  if (moe_wants_matrix(run.tokens, run.expert_count) &&
      moe_has_matrix(run.limits, run.gate, run.up, run.down)) {
    return moe_matrix(run, backend, y);
  }
  const View act = temporary(backend, Shape{run.pairs, run.inner});
  const View part = temporary(backend, Shape{run.pairs, run.hidden});
  const TileKernel wide =
      tile_kernel(run, run.gate, run.gate.vec4 && run.up.vec4, moe_vec4(run.x, run.hidden), true);
  const TileKernel narrow =
      tile_kernel(run, run.down, run.down.vec4, moe_vec4(act, run.inner), false);
  const MoePlan plan =
      moe_plan(run, backend, {are_few(run) ? kFewTile : kPairTile, wide.rows, narrow.rows});
  gate_up_tiles(run, plan, wide, act);
  down_tiles(run, plan, narrow, act, part);
  moe_combine(run, part, y);
}

}  // namespace candela::wgpu
