#include "backend/wgpu/matrix.h"
#include "backend/wgpu/moe.h"
#include "backend/wgpu/wgpu_backend.h"

namespace candela::wgpu {
namespace {

/// Pairs and rows of weights (gate and up together) of a workgroup.
constexpr MatrixTile kTile{64, 128, 64, 32};
/// Columns that lie in workgroup memory at a time.
constexpr uint32_t kStep = 32;

struct MatrixParams {
  uint32_t k, cols, rows, row_begin, row_end, pitch, padded_rows, plan_offset, order_offset;
  uint32_t w_start, up_start, w_stride, y_offset;
};

/// What both products share: the kernel, the plan, one operand.
struct Product {
  KernelId kernel;
  MatrixParams params{};
  MatrixTerms x;
  uint32_t terms;
};

Product product(const MoeRun& run,
                WgpuBackend& backend,
                const MoePlan& plan,
                const View& x,
                uint32_t rows,
                bool gate_up) {
  Product made;
  made.terms = run.precision == Precision::Exact ? 2 : 1;
  made.kernel = moe_matrix_kernel(made.terms, gate_up);
  made.x = matrix_terms(backend, x, made.terms, 1);
  made.params.k = run.k;
  made.params.cols = narrow_u32(x.dim(1), "the columns of an expert");
  made.params.rows = rows;
  made.params.pitch = made.x.pitch;
  made.params.padded_rows = made.x.padded_rows;
  made.params.plan_offset = moe_offset(plan.view);
  made.params.order_offset = plan.order_offset;
  return made;
}

}  // namespace

KernelId moe_matrix_kernel(uint32_t terms, bool gate_up) {
  KernelId kernel{"moe_matrix"};
  define_matrix(kernel, kTile, terms, kStep);
  if (terms == 2) {
    kernel.defines.emplace_back("EXACT");
  }
  if (gate_up) {
    kernel.defines.emplace_back("GATE_UP");
  }
  return kernel;
}

bool moe_has_matrix(const MoeRun& run) {
  const auto fits = [](const Weight& weight) { return weight.dtype == DType::BF16 && weight.vec4; };
  return has_matrix_cores(run.limits) && fits(run.gate) && fits(run.up) && fits(run.down);
}

void moe_matrix(const MoeRun& run, WgpuBackend& backend, const View& y) {
  const MoePlan plan = moe_plan(run, backend, kTile.rows);
  const View act = temporary(backend, Shape{run.pairs, run.inner});
  Product wide = product(run, backend, plan, run.x, run.inner, true);
  wide.params.w_stride = run.gate.stride;
  wide.params.y_offset = moe_offset(act);
  for (const MoeBoth& both : moe_both(run.gate, run.up)) {
    wide.params.row_begin = both.begin;
    wide.params.row_end = both.end;
    wide.params.w_start = both.gate_start;
    wide.params.up_start = both.up_start;
    const View gate = matrix_exponents(backend, run.gate_view, run.gate,
                                       {both.gate_segment, both.begin, both.end, both.gate_start});
    const View up = matrix_exponents(backend, run.up_view, run.up,
                                     {both.up_segment, both.begin, both.end, both.up_start});
    run.stream.dispatch(wide.kernel, grid_for(moe_blocks(run.inner, kTile.cols / 2) * plan.tiles),
                        wide.params,
                        {whole_in(wide.x.values), whole_in(wide.x.exponents),
                         in(run.gate_view, both.gate_segment), whole_in(gate), whole_in(plan.view),
                         whole_out(act), in(run.up_view, both.up_segment), whole_in(up)});
  }

  const View part = temporary(backend, Shape{run.pairs, run.hidden});
  Product narrow = product(run, backend, plan, act, run.hidden, false);
  narrow.params.w_stride = run.down.stride;
  narrow.params.y_offset = moe_offset(part);
  for (const WeightPiece& piece : run.down.pieces) {
    narrow.params.row_begin = piece.begin;
    narrow.params.row_end = piece.end;
    narrow.params.w_start = piece.start;
    const View down = matrix_exponents(backend, run.down_view, run.down, piece);
    run.stream.dispatch(
        narrow.kernel, grid_for(moe_blocks(run.hidden, kTile.cols) * plan.tiles), narrow.params,
        {whole_in(narrow.x.values), whole_in(narrow.x.exponents), in(run.down_view, piece.segment),
         whole_in(down), whole_in(plan.view), whole_out(part)});
  }
  moe_combine(run, part, y);
}

}  // namespace candela::wgpu
