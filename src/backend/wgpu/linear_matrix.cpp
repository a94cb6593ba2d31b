#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

#include "backend/wgpu/linear_extras.h"
#include "backend/wgpu/matrix.h"
#include "backend/wgpu/matrix_division.h"
#include "backend/wgpu/wgpu_backend.h"

namespace candela::wgpu {
namespace {

struct MatrixParams {
  uint32_t rows, cols, pitch, padded_rows, row_begin, row_count, w_start, w_stride, slice, split,
      splits;
  uint32_t y_offset, y_stride, bias_offset, bias_kind, residual_offset, residual_stride;
};

struct MergeParams {
  uint32_t rows, cols, splits, y_offset, y_stride;
  uint32_t bias_offset, bias_kind, residual_offset, residual_stride;
};

uint64_t blocks(uint64_t count, uint64_t size) {
  return (count + size - 1) / size;
}

/// The results of a subgroup, 16 rows at a time, through workgroup memory to `write`.
std::string stores(uint32_t rows, uint32_t cols) {
  std::string text;
  for (uint32_t i = 0; i < rows; ++i) {
    text += "    workgroupBarrier();\n";
    for (uint32_t j = 0; j < cols; ++j) {
      text +=
          fmt::format("    subgroupMatrixStore(sums, place + {}u, sum_{}_{}, false, kSumPitch);\n",
                      j * 16, i, j);
    }
    text += fmt::format(
        "    workgroupBarrier();\n    write(place, lane, t0 + sub_row + {}u, o0 + sub_col, "
        "o_first, split, "
        "first == begin, last == end);\n",
        i * 16);
  }
  return text;
}

void unroll_linear(KernelId& kernel, const MatrixTile& tile, uint32_t terms) {
  const auto give = [&](const char* name, std::string text) {
    kernel.substitutions.emplace_back(name, std::move(text));
  };
  const auto sweeps = [&](uint32_t rows, const char* line) {
    return matrix_sweeps(tile, rows,
                         [&](uint32_t i) { return fmt::format(fmt::runtime(line), i); });
  };
  const uint32_t x_rows = tile.rows * terms;
  unroll_matrix(kernel, tile, terms);
  give("SCALES", sweeps(tile.cols, "  let scale_{0} = w_scale(o0 + row + {0}u * kSweep);\n"));
  give("LOADS",
       sweeps(
           x_rows,
           "        let x_{0} = x[x_at + {0}u * kSweep % kRows * x_pitch + {0}u * kSweep / kRows * "
           "x_plane];\n") +
           sweeps(tile.cols, "        let w_{0} = w[w_at + {0}u * kSweep * w_pitch];\n"));
  give("PUTS", sweeps(x_rows, "        put(row + {0}u * kSweep, piece, x_{0});\n") +
                   sweeps(tile.cols, "        put_w(row + {0}u * kSweep, k, w_{0}, scale_{0});\n"));
  give("STORES", stores(tile.sub_rows / 16, tile.sub_cols / 16));
}

KernelId product_kernel(const Weight& weight,
                        const MatrixTile& tile,
                        uint32_t terms,
                        const MatrixParams& params) {
  const uint32_t rest = params.pitch - (params.splits - 1) * params.split;
  KernelId kernel =
      linear_matrix_kernel(tile, terms, matrix_round(params.split | rest | params.slice));
  define_weight(kernel, weight.dtype, weight.vec4);
  if (weight.cols % kMatrixStep != 0) {
    kernel.defines.emplace_back("TAIL");
  }
  if (params.slice < params.split) {
    kernel.defines.emplace_back("SLICED");
  }
  return kernel;
}

MatrixParams product_params(const Weight& weight,
                            const MatrixDivision& division,
                            const MatrixTerms& x,
                            const Rows& y,
                            bool fast) {
  MatrixParams params{};
  params.rows = y.rows;
  params.cols = weight.cols;
  params.pitch = x.pitch;
  params.padded_rows = x.padded_rows;
  params.w_stride = weight.stride;
  params.y_offset = y.offset;
  params.y_stride = y.stride;
  params.split = division.columns;
  params.splits = static_cast<uint32_t>(blocks(x.pitch, params.split));
  params.slice = fast ? params.split : std::min(params.split, kExactSlice);
  return params;
}

/// Whether all rows of y and of the weight's pieces begin at multiples of four.
bool stores_by_four(const MatrixParams& params, const Weight& weight) {
  const auto by_four = [](const WeightPiece& piece) {
    return piece.begin % 4 == 0 && piece.end % 4 == 0;
  };
  return params.y_offset % 4 == 0 && params.y_stride % 4 == 0 &&
         std::all_of(weight.pieces.begin(), weight.pieces.end(), by_four);
}

/// Adds up the workgroups' parts, bias and residual.
void merge_parts(WgpuBackend& backend, const LinearArgs& args, const View& parts, const View& y) {
  const Rows rows = rows_of(y);
  KernelId kernel{"matrix_merge"};
  MergeParams params{rows.rows,   rows.cols,   static_cast<uint32_t>(parts.dim(0)),
                     rows.offset, rows.stride, 0,
                     0,           0,           0};
  std::vector<Operand> operands{whole_in(parts), whole_out(y)};
  bind_extras(backend, args, kernel, params, operands);
  number_params(kernel, operands);
  backend.stream().dispatch_bytes(kernel, grid_for(blocks(uint64_t{rows.rows} * rows.cols, 256)),
                                  std::as_bytes(std::span(&params, 1)), operands);
}

}  // namespace

KernelId linear_matrix_kernel(const MatrixTile& tile, uint32_t terms, uint32_t round) {
  KernelId kernel{"linear_matrix"};
  define_matrix(kernel, tile, terms);
  kernel.substitutions.emplace_back("ROUND", std::to_string(round));
  kernel.unroll = [tile, terms](KernelId& full) { unroll_linear(full, tile, terms); };
  return kernel;
}

void WgpuBackend::linear_matrix(const LinearArgs& args, const View& x, const View& y) {
  const uint32_t rows = rows_of(y).rows;
  const uint32_t terms =
      x.dtype == DType::F16 ? 1 : matrix_term_count(context_->options().precision, rows);
  std::optional<RowNorm> norm;
  if (args.norm_weight) {
    norm = {dense(*this, *args.norm_weight), args.norm_eps};
  }
  linear_terms(args, matrix_terms(*this, x, terms, norm), y);
}

void WgpuBackend::linear_terms(const LinearArgs& args, const MatrixTerms& left, const View& y) {
  const Weight weight = weight_rows(args.weight, "linear");
  const Rows yr = rows_of(y);
  const bool fast = context_->options().precision == Precision::Fast && yr.rows > kMatrixDecodeRows;
  const MatrixDivision division = divide_product(yr.rows, weight, left.terms);
  const MatrixTile& tile = division.tile;
  MatrixParams params = product_params(weight, division, left, yr, fast);

  KernelId kernel = product_kernel(weight, tile, left.terms, params);
  std::vector<Operand> operands{whole_in(left.values), Operand{}, whole_out(y)};
  if (left.exponents.storage != nullptr) {
    kernel.defines.emplace_back("X_SCALED");
    bind_as("X_EXPONENTS", left.exponents, kernel, operands);
  }
  const size_t w_exponents = operands.size();
  if (weight.dtype == DType::BF16) {
    kernel.substitutions.emplace_back("W_EXPONENTS", std::to_string(w_exponents));
    operands.emplace_back();
  }
  View parts;
  if (params.splits > 1) {
    kernel.defines.emplace_back("SPLIT");
    parts = temporary(*this, {params.splits, yr.rows, weight.rows});
    params.y_offset = 0;
    params.y_stride = weight.rows;
    operands[2] = whole_out(parts);
  } else {
    bind_extras(*this, args, kernel, params, operands);
  }
  if (stores_by_four(params, weight)) {
    kernel.defines.emplace_back("Y_VEC4");
  }
  number_params(kernel, operands);
  for (const WeightPiece& piece : weight.pieces) {
    params.row_begin = piece.begin;
    params.row_count = piece.end - piece.begin;
    params.w_start = piece.start;
    operands[1] = in(args.weight, piece.segment);
    if (weight.dtype == DType::BF16) {
      operands[w_exponents] = whole_in(matrix_exponents(*this, args.weight, weight, piece));
    }
    const uint64_t groups =
        blocks(yr.rows, tile.rows) * blocks(params.row_count, tile.cols) * params.splits;
    stream_->dispatch_bytes(kernel, grid_for(groups), std::as_bytes(std::span(&params, 1)),
                            operands, product_work(yr.rows, weight, piece));
  }
  if (params.splits > 1) {
    merge_parts(*this, args, parts, y);
  }
}

}  // namespace candela::wgpu
