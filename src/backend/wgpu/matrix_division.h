#pragma once

#include <cstdint>

#include "backend/wgpu/matrix.h"

namespace candela::wgpu {

/// Rows that count as decoding: exact in every class.
inline constexpr uint32_t kMatrixDecodeRows = 64;

/// Columns after which exact sums leave the matrix cores.
inline constexpr uint32_t kExactSlice = 512;

/// How a product is divided: the tile of a workgroup, and the columns that it sums, whole steps.
struct MatrixDivision {
  MatrixTile tile;
  uint32_t columns;
};

/// The division of rows x weight that takes the least time, x in one term or two. Only the shape
/// decides, so that the same shapes give the same bits.
MatrixDivision divide_product(uint32_t rows, const Weight& weight, uint32_t terms);

}  // namespace candela::wgpu
