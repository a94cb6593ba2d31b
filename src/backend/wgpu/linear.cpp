#include <algorithm>
#include <vector>

#include "backend/wgpu/linear_extras.h"
#include "backend/wgpu/matrix.h"
#include "backend/wgpu/rows.h"
#include "backend/wgpu/wgpu_backend.h"

namespace candela::wgpu {
namespace {

/// Up to this many rows of x the weights are read once per eight rows, without tiles.
constexpr uint32_t kFewRows = 16;
constexpr uint32_t kTile = 64;
/// From this many rows on matrix cores are faster.
constexpr uint32_t kMatrixRows = 5;

struct LinearParams {
  uint32_t rows, cols, row_begin, row_count;
  uint32_t x_offset, x_stride, w_start, w_stride, y_offset, y_stride;
  uint32_t bias_offset, bias_kind, residual_offset, residual_stride;
  uint32_t norm_offset;
  float norm_eps;
};

struct SwigluParams {
  uint32_t rows, cols, gate_offset, gate_stride, up_offset, up_stride, y_offset, y_stride;
};

uint64_t blocks(uint64_t count, uint64_t size) {
  return (count + size - 1) / size;
}

/// Rows of x that one workgroup of linear_gemv takes: a finite set, so few pipelines.
uint32_t rows_at_once(uint32_t rows) {
  return rows <= 1 ? 1 : rows <= 2 ? 2 : rows <= 4 ? 4 : 8;
}

/// Threads that share one weight row: a subgroup, or several where there are too few rows to fill a
/// large GPU and each thread still has something to load.
uint32_t threads_a_row(const Limits& limits,
                       const Tuning& tuning,
                       uint32_t weight_rows,
                       uint32_t cols) {
  constexpr uint32_t kWantedThreads = 1 << 18;
  const uint32_t lanes = 256 / rows_a_workgroup(limits);
  const uint32_t team = std::min(tuning.short_matrix_subgroups * lanes, 256u);
  return weight_rows * lanes < kWantedThreads && cols >= team * 8 ? team : lanes;
}

}  // namespace

void WgpuBackend::linear(const LinearArgs& args, const View& y) {
  if (y.elements() == 0) {
    return;
  }
  if (args.weight.dim(-1) == 0) {
    return Backend::linear(args, y);
  }
  RowTarget target(*this, y);
  const Weight weight = weight_rows(args.weight, "linear");
  const bool cores = args.x.elements() >= int64_t{kMatrixRows} * args.x.dim(-1) &&
                     has_matrix_cores(limits()) && can_use_matrix(weight);
  View x = cores && is_matrix_term(args.x) ? args.x : with_rows(*this, args.x);
  const bool few = !cores && rows_of(x).rows <= kFewRows;
  const bool norm_inside =
      args.norm_weight && few && norm_by_eights(*args.norm_weight) && rows_of(x).vec4();
  if (args.norm_weight && !norm_inside && !cores) {
    x = normed(args);
  }
  if (cores) {
    linear_matrix(args, x, target.view());
  } else {
    linear_rows(args, x, target.view(), norm_inside);
  }
  target.finish();
}

void WgpuBackend::linear_rows(const LinearArgs& args,
                              const View& x,
                              const View& y,
                              bool norm_inside) {
  const Weight weight = weight_rows(args.weight, "linear");
  const Rows xr = rows_of(x);
  const Rows yr = rows_of(y);
  const bool few = xr.rows <= kFewRows;
  LinearParams params{};
  params.rows = xr.rows;
  params.cols = xr.cols;
  params.x_offset = xr.offset;
  params.x_stride = xr.stride;
  params.w_stride = weight.stride;
  params.y_offset = yr.offset;
  params.y_stride = yr.stride;

  KernelId kernel{few ? "linear_gemv" : "linear_tile"};
  define_weight(kernel, weight.dtype, weight.vec4);
  if (xr.vec4()) {
    kernel.defines.emplace_back("X_VEC4");
  }
  const uint32_t team = threads_a_row(limits(), tuning_, weight.rows, weight.cols);
  if (few) {
    kernel.substitutions.emplace_back("ROWS", std::to_string(rows_at_once(xr.rows)));
    kernel.substitutions.emplace_back("TEAM", std::to_string(team));
    define_subgroups(kernel, limits(), team);
    // Longer unrolled loops, also those whose length compilers know, take too many registers from
    // several rows.
    const bool one = xr.rows == 1;
    define_round(kernel, weight.cols, team, one ? 8 : 1);
    define_sizes(kernel, one && has_fixed_sizes(weight),
                 {{"COLS", "params.cols", weight.cols},
                  {"ROW_COUNT", "params.row_count", weight.rows},
                  {"W_START", "params.w_start", 0},
                  {"W_STRIDE", "params.w_stride", weight.stride}});
  }
  std::vector<Operand> operands{whole_in(x), Operand{}, whole_out(y)};
  bind_extras(*this, args, kernel, params, operands);
  if (norm_inside && args.norm_weight) {
    params.norm_offset = narrow_u32(args.norm_weight->layout.offset, "the offset of a norm weight");
    params.norm_eps = args.norm_eps;
    kernel.defines.emplace_back("HAS_NORM");
    if (args.norm_weight->dtype == DType::BF16) {
      kernel.defines.emplace_back("NORM_BF16");
    }
    bind_as("NORM", *args.norm_weight, kernel, operands);
  }
  number_params(kernel, operands);
  for (const WeightPiece& piece : weight.pieces) {
    params.row_begin = piece.begin;
    params.row_count = piece.end - piece.begin;
    params.w_start = piece.start;
    operands[1] = in(args.weight, piece.segment);
    const uint64_t groups =
        few ? blocks(params.row_count, 256 / team) * blocks(xr.rows, rows_at_once(xr.rows))
            : blocks(params.row_count, kTile) * blocks(xr.rows, kTile);
    stream_->dispatch_bytes(kernel, grid_for(groups), std::as_bytes(std::span(&params, 1)),
                            operands, product_work(xr.rows, weight, piece));
  }
}

void WgpuBackend::swiglu(const View& gate, const View& up, const View& y) {
  if (y.elements() == 0) {
    return;
  }
  RowTarget target(*this, y);
  const View g = with_rows(*this, gate);
  const View u = with_rows(*this, up);
  const Rows gr = rows_of(g);
  const Rows ur = rows_of(u);
  const Rows yr = rows_of(target.view());
  const SwigluParams params{gr.rows,   gr.cols,   gr.offset, gr.stride,
                            ur.offset, ur.stride, yr.offset, yr.stride};
  stream_->dispatch({"swiglu"}, grid_for(blocks(uint64_t{gr.rows} * gr.cols, 256)), params,
                    {whole_in(g), whole_in(u), whole_out(target.view())});
  target.finish();
}

}  // namespace candela::wgpu
