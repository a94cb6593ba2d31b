#include "backend/wgpu/matrix_division.h"

#include <algorithm>
#include <limits>
#include <span>

namespace candela::wgpu {
namespace {

/// Multiprocessors of the GPU that the figures below were measured on (H100); on others they still
/// rank the ways to divide a product.
constexpr uint32_t kProcessors = 132;
/// Workgroups that fill it while they wait for memory.
constexpr uint64_t kFillingGroups = uint64_t{2} * kProcessors;
/// Columns that are worth a workgroup of their own, and how many may share a row's.
constexpr uint32_t kLeastSplit = 256;
constexpr uint32_t kMostSplits = 8;
/// Rows of a weight that wide tiles can fill the GPU with.
constexpr uint32_t kManyRows = 1024;

/// A tile, what all multiprocessors make with it, and how many workgroups each needs for that.
struct Candidate {
  MatrixTile tile;
  double teraflops;
  uint32_t resident;
};
constexpr Candidate kFast[] = {
    {{128, 192, 64, 48}, 258, 1}, {{128, 128, 64, 32}, 219, 1}, {{64, 64, 32, 32}, 177, 3}};
constexpr Candidate kExact[] = {{{64, 128, 32, 32}, 85, 1}, {{64, 64, 32, 32}, 75, 2}};

uint64_t blocks(uint64_t count, uint64_t size) {
  return (count + size - 1) / size;
}

MatrixDivision divide_columns(const MatrixTile& tile, uint32_t pitch, uint32_t splits) {
  // Parts of even lengths have long rounds.
  const uint32_t unit = splits > 1 && pitch % kLeastSplit == 0 ? kLeastSplit : kMatrixStep;
  return {tile, static_cast<uint32_t>(blocks(blocks(pitch, splits), unit)) * unit};
}

/// Whether every piece of the weight has a tile's columns at least.
bool fits(const MatrixTile& tile, const Weight& weight) {
  return std::all_of(weight.pieces.begin(), weight.pieces.end(), [&](const WeightPiece& piece) {
    return piece.end - piece.begin >= tile.cols;
  });
}

/// Few rows: bound by memory, so the columns are divided until the device is full.
MatrixDivision divide_few(uint32_t rows, const Weight& weight, uint32_t pitch) {
  constexpr MatrixTile kWide{64, 128, 32, 32};
  if (rows > 32 && weight.rows >= kManyRows && fits(kWide, weight)) {
    // Twice the threads, so one a multiprocessor; long parts would leave matrix cores in between.
    const auto splits =
        static_cast<uint32_t>(std::max<uint64_t>(kProcessors / blocks(weight.rows, kWide.cols), 1));
    MatrixDivision division = divide_columns(kWide, pitch, splits);
    division.columns = splits > 1 ? std::min(division.columns, kExactSlice) : division.columns;
    return division;
  }
  const MatrixTile tile = rows <= 16   ? MatrixTile{16, 64, 16, 16}
                          : rows <= 32 ? MatrixTile{32, 64, 32, 16}
                                       : MatrixTile{64, 64, 32, 32};
  const uint64_t tiles = blocks(rows, tile.rows) * blocks(weight.rows, tile.cols);
  return divide_columns(tile, pitch,
                        static_cast<uint32_t>(std::clamp<uint64_t>(
                            kFillingGroups / tiles, 1, std::max(weight.cols / kLeastSplit, 1u))));
}

/// Microseconds that a product should take.
double expected_time(const Candidate& candidate,
                     uint32_t rows,
                     const Weight& weight,
                     uint32_t splits) {
  const MatrixTile& tile = candidate.tile;
  const uint64_t groups = blocks(rows, tile.rows) * blocks(weight.rows, tile.cols) * splits;
  const double one = 2.0 * tile.rows * tile.cols * weight.cols / splits * kProcessors /
                     (candidate.teraflops * 1e6);
  const auto turns =
      static_cast<double>(std::max<uint64_t>(blocks(groups, kProcessors), candidate.resident));
  // Another dispatch, and the parts go to memory and back at 2.5 TB/s.
  const double merge = 4.0 + (splits + 1.0) * rows * weight.rows * 4.0 / 2.5e6;
  return turns * one + (splits > 1 ? merge : 0.0);
}

MatrixDivision divide_many(uint32_t rows, const Weight& weight, uint32_t terms, uint32_t pitch) {
  MatrixDivision best{};
  double shortest = std::numeric_limits<double>::infinity();
  const uint32_t most = std::clamp(weight.cols / kLeastSplit, 1u, kMostSplits);
  for (const Candidate& candidate : terms == 1 ? std::span<const Candidate>(kFast) : kExact) {
    if (!fits(candidate.tile, weight)) {
      continue;
    }
    for (uint32_t splits = 1; splits <= most; ++splits) {
      const double time = expected_time(candidate, rows, weight, splits);
      if (time < shortest) {
        shortest = time;
        best = divide_columns(candidate.tile, pitch, splits);
      }
    }
  }
  return best;
}

}  // namespace

MatrixDivision divide_product(uint32_t rows, const Weight& weight, uint32_t terms) {
  const uint32_t pitch = static_cast<uint32_t>(blocks(weight.cols, kMatrixStep)) * kMatrixStep;
  return rows <= kMatrixDecodeRows ? divide_few(rows, weight, pitch)
                                   : divide_many(rows, weight, terms, pitch);
}

}  // namespace candela::wgpu
