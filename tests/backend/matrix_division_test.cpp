#include "backend/wgpu/matrix_division.h"

#include <gtest/gtest.h>

namespace candela::wgpu {
namespace {

MatrixDivision divided(uint32_t rows, uint32_t out, uint32_t in, uint32_t terms = 1) {
  Weight weight;
  weight.rows = out;
  weight.cols = in;
  weight.pieces = {{0, 0, out, 0}};
  return divide_product(rows, weight, terms);
}

TEST(MatrixDivision, FillsTheDevice) {
  // 32 x 22 tiles leave few multiprocessors idle; 16 x 11 would leave a third, 16 x 16 do not.
  EXPECT_EQ(divided(4096, 4096, 2048).tile.cols, 192u);
  EXPECT_EQ(divided(2048, 2048, 4096).tile.cols, 128u);
  // 44 tiles are too few, so their columns are divided.
  EXPECT_LT(divided(512, 2048, 4096).columns, 4096u);
  EXPECT_EQ(divided(512, 5120, 2048).columns, 2048u);
}

TEST(MatrixDivision, ParityMeetsEveryTile) {
  EXPECT_EQ(divided(275, 5072, 72).tile.rows * divided(275, 5072, 72).tile.cols, 128u * 128u);
  EXPECT_EQ(divided(900, 3000, 72).tile.cols, 192u);
  EXPECT_EQ(divided(896, 3000, 128).tile.cols, 192u);
  EXPECT_EQ(divided(200, 90, 136).tile.rows, 64u);
  EXPECT_EQ(divided(900, 3000, 72, 2).tile.cols, 128u);
  EXPECT_EQ(divided(31, 70, 200).tile.rows, 32u);
  EXPECT_EQ(divided(16, 130, 8).tile.rows, 16u);
}

TEST(MatrixDivision, ColumnsAreWholeSteps) {
  for (const uint32_t rows : {9u, 40u, 65u, 300u, 5000u}) {
    for (const uint32_t out : {64u, 200u, 5120u}) {
      for (const uint32_t in : {8u, 72u, 768u, 1152u, 5120u}) {
        for (const uint32_t terms : {1u, 2u}) {
          const uint32_t columns = divided(rows, out, in, terms).columns;
          EXPECT_GT(columns, 0u);
          EXPECT_EQ(columns % kMatrixStep, 0u) << rows << " x " << out << " x " << in;
        }
      }
    }
  }
}

// Pieces of a weight that are narrower than a tile would be written past their end.
TEST(MatrixDivision, NarrowPieces) {
  Weight weight;
  weight.rows = 5072;
  weight.cols = 72;
  weight.pieces = {{0, 0, 4972, 0}, {1, 4972, 5072, 0}};
  EXPECT_EQ(divide_product(275, weight, 1).tile.cols, 64u);
}

}  // namespace
}  // namespace candela::wgpu
