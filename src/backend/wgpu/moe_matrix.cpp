#include <fmt/format.h>

#include "backend/wgpu/matrix.h"
#include "backend/wgpu/moe.h"
#include "backend/wgpu/wgpu_backend.h"

namespace candela::wgpu {
namespace {

/// Pairs and rows of weights (gate and up together) of a workgroup.
MatrixTile tile_of(const MoeRun& run) {
  return run.precision == Precision::Exact ? kMoeExactTile : kMoeFastTile;
}

struct MatrixParams {
  uint32_t k, cols, rows, row_begin, row_end, pitch, padded_rows, plan_offset, order_offset;
  uint32_t w_start, up_start, w_stride, y_offset;
};

/// What both products share: the kernel, the plan, one operand.
struct Product {
  KernelId kernel;
  MatrixParams params{};
  MatrixTerms x;
};

Product product(const MoeRun& run,
                WgpuBackend& backend,
                const MoePlan& plan,
                const View& x,
                uint32_t rows,
                bool gate_up) {
  Product made;
  const uint32_t terms = run.precision == Precision::Exact ? 2 : 1;
  made.params.cols = narrow_u32(x.dim(1), "the columns of an expert");
  made.kernel = moe_matrix_kernel(tile_of(run), terms, gate_up, made.params.cols);
  made.x = gate_up && run.x_terms ? *run.x_terms : matrix_terms(backend, x, terms);
  made.params.k = run.k;
  made.params.rows = rows;
  made.params.pitch = made.x.pitch;
  made.params.padded_rows = made.x.padded_rows;
  made.params.plan_offset = moe_offset(plan.view);
  made.params.order_offset = plan.order_offset;
  return made;
}

/// Each thread brings rows of x and of weights; the rows of up come after those of gate.
void unroll_experts(KernelId& kernel, const MatrixTile& tile, uint32_t terms, bool gate_up) {
  const auto give = [&](const std::string& name, std::string text) {
    kernel.substitutions.emplace_back(name, std::move(text));
  };
  const uint32_t sweep = tile.threads() / 8;
  const auto sweeps = [&](uint32_t rows, const char* line) {
    return matrix_sweeps(tile, rows, [&](uint32_t i) {
      const bool of_up = gate_up && i * sweep >= tile.cols / 2;
      return fmt::format(fmt::runtime(line), i, of_up ? "up" : "w");
    });
  };
  // Few: of each term only the sweeps of the lower half.
  const auto x_sweeps = [&](bool few, const char* line) {
    return matrix_sweeps(tile, tile.rows * terms, [&](uint32_t i) {
      const bool upper = i * sweep % tile.rows >= tile.rows / 2;
      return few && upper ? std::string() : fmt::format(fmt::runtime(line), i);
    });
  };
  const auto give_moves = [&](const std::string& name, bool few) {
    give(name + "LOADS", x_sweeps(few, "      let x_{0} = x[x_start_{0} + x_at];\n") +
                             sweeps(tile.cols, "      let w_{0} = {1}[w_start_{0} + w_at];\n"));
    give(name + "PUTS",
         x_sweeps(few, "      put(row + {0}u * kSweep, piece, x_{0});\n") +
             sweeps(tile.cols, "      put_w(row + {0}u * kSweep, k, w_{0}, scale_{0});\n"));
  };
  const uint32_t apart = gate_up ? tile.cols / 2 : 16;
  unroll_matrix(kernel, tile, terms, apart);
  give("STARTS",
       x_sweeps(false, "  let x_start_{0} = x_start(tile, row + {0}u * kSweep);\n") +
           sweeps(tile.cols,
                  "  let w_start_{0} = w_start(tile, row + {0}u * kSweep);\n"
                  "  let scale_{0} = power_of_two(-w_power(tile, row + {0}u * kSweep));\n"));
  give_moves("", false);
  give_moves("FEW_", true);
  const MatrixTile few{tile.rows, tile.cols, tile.sub_rows / 2, tile.sub_cols};
  give("FEW_PRODUCTS", matrix_products(few, terms, apart));
}

}  // namespace

KernelId moe_matrix_kernel(const MatrixTile& tile, uint32_t terms, bool gate_up, uint32_t cols) {
  KernelId kernel{"moe_matrix"};
  define_matrix(kernel, tile, terms);
  const uint32_t steps = (cols + kMatrixStep - 1) / kMatrixStep;
  kernel.substitutions.emplace_back("ROUND", std::to_string(matrix_round(steps * kMatrixStep)));
  if (cols % kMatrixStep != 0) {
    kernel.defines.emplace_back("TAIL");
  }
  if (terms == 2) {
    kernel.defines.emplace_back("EXACT");
  }
  if (gate_up) {
    kernel.defines.emplace_back("GATE_UP");
  }
  kernel.unroll = [tile, terms, gate_up](KernelId& full) {
    unroll_experts(full, tile, terms, gate_up);
  };
  return kernel;
}

bool moe_has_matrix(const Limits& limits,
                    const Weight& gate,
                    const Weight& up,
                    const Weight& down) {
  const auto fits = [](const Weight& weight) { return weight.dtype == DType::BF16 && weight.vec4; };
  return has_matrix_cores(limits) && fits(gate) && fits(up) && fits(down);
}

void moe_matrix(const MoeRun& run, WgpuBackend& backend, const View& y) {
  const MatrixTile tile = tile_of(run);
  const MoePlan plan = moe_plan(run, backend, {tile.rows, tile.cols / 2, tile.cols});
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
    run.stream.dispatch(wide.kernel, plan.wide, wide.params,
                        {whole_in(wide.x.values), whole_in(wide.x.exponents),
                         in(run.gate_view, both.gate_segment), whole_in(gate), whole_in(plan.view),
                         whole_out(act), in(run.up_view, both.up_segment), whole_in(up)},
                        expert_work(run, run.gate, true, both.end - both.begin));
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
        narrow.kernel, plan.narrow, narrow.params,
        {whole_in(narrow.x.values), whole_in(narrow.x.exponents), in(run.down_view, piece.segment),
         whole_in(down), whole_in(plan.view), whole_out(part)},
        expert_work(run, run.down, false, piece.end - piece.begin));
  }
  moe_combine(run, part, y);
}

}  // namespace candela::wgpu
