#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "backend/backend.h"
#include "backend/wgpu/kernel.h"
#include "backend/wgpu/rows.h"

namespace candela::wgpu {

class WgpuBackend;

/// How a kernel with matrix cores divides its product: a workgroup makes rows x cols results, each
/// of its subgroups sub_rows x sub_cols (multiples of 16).
struct MatrixTile {
  uint32_t rows, cols, sub_rows, sub_cols;

  uint32_t subgroups() const { return rows / sub_rows * (cols / sub_cols); }
  uint32_t threads() const { return subgroups() * 32; }
};

/// Columns of both operands that lie in workgroup memory at a time; rows of terms are padded to it.
inline constexpr uint32_t kMatrixStep = 64;
/// Columns of the smallest tile.
inline constexpr uint32_t kMatrixCols = 64;
/// Every tile's rows divide it.
inline constexpr uint32_t kLargestTileRows = 128;

/// Whether matrix_tile.wgsl can be used: subgroups of 32 and 48 KiB of workgroup memory.
bool has_matrix_cores(const Limits& limits);

/// Whether a weight suits them: BF16 or F16 in 16-byte groups, pieces of at least a tile's columns.
bool can_use_matrix(const Weight& weight);

/// Gives the texts of matrix_tile.wgsl and the sizes of the tile.
void define_matrix(KernelId& kernel, const MatrixTile& tile, uint32_t terms);
/// Gives SUMS (accumulators of zeros) and PRODUCTS (of one step, from x_tile and w_tile in
/// `halves`). The weight rows of a subgroup's matrices begin `w_apart` from each other.
void unroll_matrix(KernelId& kernel, const MatrixTile& tile, uint32_t terms, uint32_t w_apart = 16);

/// PRODUCTS by itself.
std::string matrix_products(const MatrixTile& tile, uint32_t terms, uint32_t w_apart);

/// A line of a kernel for each sweep in which all threads move eight columns of `rows` tile rows.
std::string matrix_sweeps(const MatrixTile& tile,
                          uint32_t rows,
                          const std::function<std::string(uint32_t)>& line);

/// Steps of one round, which the driver's compiler unrolls: the most that divide `columns`.
uint32_t matrix_round(uint32_t columns);

/// The kernel of linear for F16 or BF16 weights, without bindings.
KernelId linear_matrix_kernel(const MatrixTile& tile, uint32_t terms, uint32_t round);

/// Rows of activations as F16 terms with an exponent a row (matrix_terms.wgsl). Padding: zeros past
/// the columns, anything past the rows.
struct MatrixTerms {
  View values;     ///< F16 [terms, padded_rows, pitch]
  View exponents;  ///< I32 [rows]; without storage: all zero
  uint32_t pitch = 0, padded_rows = 0;
  uint32_t terms = 1;
};
/// Whether x is F16 and lies as one term of whole tiles, whatever their size: nothing is to be
/// made.
bool is_matrix_term(const View& x);
/// RMSNorm of rows with a gapless weight [cols].
struct RowNorm {
  View weight;
  float eps;
};
/// Of F32 rows, normed if asked for, or of an x that is_matrix_term.
MatrixTerms matrix_terms(WgpuBackend& backend,
                         const View& x,
                         uint32_t terms,
                         const std::optional<RowNorm>& norm = {});
/// As many terms as so many F32 rows need in a class: decode steps are exact in both.
uint32_t matrix_term_count(Precision precision, uint32_t rows);

/// Exponents of the BF16 rows of one piece (matrix_exponents.wgsl), computed once and kept with the
/// weight's storage until something is written there.
View matrix_exponents(WgpuBackend& backend,
                      const View& weight,
                      const Weight& rows,
                      const WeightPiece& piece);

}  // namespace candela::wgpu
