#include "backend/wgpu/matrix.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <vector>

#include "backend/wgpu/matrix_division.h"
#include "backend/wgpu/storage.h"
#include "backend/wgpu/wgpu_backend.h"

namespace candela::wgpu {
namespace {

constexpr uint32_t kTileRowBytes = (kMatrixStep + 8) * 2;

/// So many rows fill a large GPU with one subgroup each; fewer get a workgroup each.
constexpr uint32_t kRowsBySubgroup = 2048;

struct TermsParams {
  uint32_t rows, cols, x_offset, x_stride, pitch, padded_rows, norm_offset, norm_kind;
  float eps;
};

struct ExponentsParams {
  uint32_t rows, cols, start;
};

std::string sums(uint32_t rows, uint32_t cols) {
  std::string text;
  for (uint32_t i = 0; i < rows; ++i) {
    for (uint32_t j = 0; j < cols; ++j) {
      text += fmt::format("    var sum_{}_{} = subgroup_matrix_result<f32, 16, 16>();\n", i, j);
    }
  }
  return text;
}

}  // namespace

// Each weight tile is loaded once and multiplied with every tile and term of x.
std::string matrix_products(const MatrixTile& tile, uint32_t terms, uint32_t w_apart) {
  std::string text;
  const auto load = [&](const char* side, const std::string& name, uint32_t row, uint32_t column) {
    text += fmt::format(
        "        let {0} = subgroupMatrixLoad<subgroup_matrix_{1}<f16, 16, 16>>(halves, "
        "{2}_tile + {3}u * kPitch + {4}u, {5}, kPitch);\n",
        name, side, name.substr(0, 1), row, column, name[0] == 'w');
  };
  for (uint32_t column = 0; column < kMatrixStep; column += 16) {
    text += "      {\n";
    for (uint32_t j = 0; j < tile.sub_cols / 16; ++j) {
      load("right", fmt::format("w_{}", j), j * w_apart, column);
    }
    for (uint32_t term = 0; term < terms; ++term) {
      for (uint32_t i = 0; i < tile.sub_rows / 16; ++i) {
        load("left", fmt::format("x_{}_{}", term, i), term * tile.rows + i * 16, column);
        for (uint32_t j = 0; j < tile.sub_cols / 16; ++j) {
          text += fmt::format(
              "        sum_{0}_{1} = subgroupMatrixMultiplyAccumulate(x_{2}_{0}, w_{1}, "
              "sum_{0}_{1});\n",
              i, j, term);
        }
      }
    }
    text += "      }\n";
  }
  return text;
}

bool has_matrix_cores(const Limits& limits) {
  return limits.subgroup_matrix && limits.shader_f16 && limits.subgroup_min == 32 &&
         limits.subgroup_max == 32 && limits.max_workgroup_bytes >= 49152 &&
         limits.max_workgroup_threads >= 256;
}

bool can_use_matrix(const Weight& weight) {
  return weight.vec4 && (weight.dtype == DType::BF16 || weight.dtype == DType::F16) &&
         std::all_of(weight.pieces.begin(), weight.pieces.end(), [](const WeightPiece& piece) {
           return piece.end - piece.begin >= kMatrixCols;
         });
}

std::string matrix_sweeps(const MatrixTile& tile,
                          uint32_t rows,
                          const std::function<std::string(uint32_t)>& line) {
  std::string text;
  for (uint32_t i = 0; i < rows * 8 / tile.threads(); ++i) {
    text += line(i);
  }
  return text;
}

uint32_t matrix_round(uint32_t columns) {
  constexpr uint32_t kLongest = 8;
  return std::min(1u << std::countr_zero(columns / kMatrixStep), kLongest);
}

void define_matrix(KernelId& kernel, const MatrixTile& tile, uint32_t terms) {
  const uint32_t tiles = (tile.rows * terms + tile.cols) * kTileRowBytes;
  const uint32_t patches = tile.subgroups() * 16 * (tile.sub_cols + 4) * 4;
  kernel.defines.insert(kernel.defines.end(), {"SUBGROUPS", "SUBGROUP_MATRIX"});
  const auto give = [&](const char* name, std::string text) {
    kernel.substitutions.emplace_back(name, std::move(text));
  };
  give("MEMORY", std::to_string(std::max(tiles, patches)));
  give("TERMS", std::to_string(terms));
  give("THREADS", std::to_string(tile.threads()));
  give("ROWS", std::to_string(tile.rows));
  give("COLS", std::to_string(tile.cols));
  give("SUB_ROWS", std::to_string(tile.sub_rows));
  give("SUB_COLS", std::to_string(tile.sub_cols));
}

void unroll_matrix(KernelId& kernel, const MatrixTile& tile, uint32_t terms, uint32_t w_apart) {
  kernel.substitutions.emplace_back("SUMS", sums(tile.sub_rows / 16, tile.sub_cols / 16));
  kernel.substitutions.emplace_back("PRODUCTS", matrix_products(tile, terms, w_apart));
}

bool is_matrix_term(const View& x) {
  Rows rows;
  return x.dtype == DType::F16 && !x.storage->is_segmented() && as_rows(x, rows) &&
         rows.offset == 0 && rows.stride == rows.cols && rows.cols % kMatrixStep == 0 &&
         rows.rows % kLargestTileRows == 0;
}

uint32_t matrix_term_count(Precision precision, uint32_t rows) {
  return precision == Precision::Fast && rows > kMatrixDecodeRows ? 1 : 2;
}

MatrixTerms matrix_terms(WgpuBackend& backend,
                         const View& x,
                         uint32_t terms,
                         const std::optional<RowNorm>& norm) {
  const Rows rows = rows_of(x);
  if (x.dtype == DType::F16) {
    return {x, View{}, rows.stride, rows.rows, 1};
  }
  MatrixTerms made;
  made.terms = terms;
  made.exponents = temporary(backend, {rows.rows}, DType::I32);
  made.pitch = (rows.cols + kMatrixStep - 1) / kMatrixStep * kMatrixStep;
  made.padded_rows = (rows.rows + kLargestTileRows - 1) / kLargestTileRows * kLargestTileRows;
  made.values = temporary(backend, {terms, made.padded_rows, made.pitch}, DType::F16);
  KernelId kernel{"matrix_terms", {"SUBGROUPS"}};
  if (terms == 2) {
    kernel.defines.emplace_back("TWO_TERMS");
  }
  if (rows.vec4()) {
    kernel.defines.emplace_back("X_VEC4");
  }
  const bool whole = rows.rows < kRowsBySubgroup;
  if (whole) {
    kernel.defines.emplace_back("WHOLE");
  }
  TermsParams params{rows.rows,        rows.cols, rows.offset, rows.stride, made.pitch,
                     made.padded_rows, 0,         0,           0.0f};
  std::vector<Operand> operands{whole_in(x), whole_out(made.values), whole_out(made.exponents)};
  if (norm) {
    kernel.defines.emplace_back("WITH_NORM");
    params.norm_offset = narrow_u32(norm->weight.layout.offset, "the offset of a norm weight");
    params.norm_kind = real_kind(norm->weight.dtype, "linear");
    params.eps = norm->eps;
    operands.push_back(whole_in(norm->weight));
  }
  const uint64_t groups = whole ? rows.rows : (uint64_t{rows.rows} + 7) / 8;
  backend.stream().dispatch_bytes(kernel, grid_for(groups), std::as_bytes(std::span(&params, 1)),
                                  operands);
  return made;
}

View matrix_exponents(WgpuBackend& backend,
                      const View& weight,
                      const Weight& rows,
                      const WeightPiece& piece) {
  const WgpuStorage& storage = wgpu_storage(weight.storage);
  const uint64_t writes = storage.buffer(piece.segment)->writes;
  for (WgpuStorage::RowExponents& kept : storage.row_exponents) {
    if (kept.segment == piece.segment && kept.start == piece.start && kept.cols == rows.cols &&
        kept.values.dim(0) == piece.end - piece.begin) {
      if (kept.writes == writes) {
        return kept.values;
      }
      std::swap(kept, storage.row_exponents.back());
      storage.row_exponents.pop_back();
      break;
    }
  }
  const uint32_t count = piece.end - piece.begin;
  const View values = temporary(backend, {count}, DType::I32);
  backend.stream().outside_capture([&] {
    backend.stream().dispatch({"matrix_exponents"}, grid_for(count),
                              ExponentsParams{count, rows.cols, piece.start},
                              {in(weight, piece.segment), whole_out(values)});
  });
  storage.row_exponents.push_back({piece.segment, piece.start, rows.cols, writes, values});
  return values;
}

}  // namespace candela::wgpu
