#include "backend/cpu/dot_rows.h"

#include <algorithm>
#include <array>
#include <vector>

#include "backend/cpu/simd.h"

namespace candela::cpu {

namespace {

// A tile of x, 32 rows of 2048 floats, is 256 KiB: it stays in the second cache while all weight
// rows pass by.
constexpr int64_t kRowBlock = 32;
constexpr int64_t kDepthBlock = 2048;

/// Products of up to kRowBlock x rows with up to kTileW weight rows.
void tile_rows(std::span<const float* const> x,
               int64_t n,
               const WeightRows& weight,
               int64_t row,
               int64_t out,
               int64_t count,
               float* const* y,
               int64_t step,
               float* buffer) {
  const Simd& loops = simd();
  const auto rows = static_cast<int64_t>(x.size());
  for (int64_t k = 0; k < n; k += kDepthBlock) {
    const int64_t depth = std::min(kDepthBlock, n - k);
    for (int64_t j = 0; j < count; ++j) {
      loops.widen(weight.dtype())(weight.row(row + j) + dtype_bytes(weight.dtype(), k), depth,
                                  buffer + j * kDepthBlock);
    }
    for (int64_t r = 0; r < rows; r += kTileX) {
      std::array<const float*, kTileX> at;
      for (int64_t i = 0; i < kTileX; ++i) {
        at[static_cast<size_t>(i)] = x[static_cast<size_t>(std::min(r + i, rows - 1))] + k;
      }
      float sums[kTileX * kTileW];
      loops.tile(at.data(), buffer, kDepthBlock, depth, sums);
      for (int64_t i = 0; i < std::min<int64_t>(kTileX, rows - r); ++i) {
        for (int64_t j = 0; j < count; ++j) {
          float& to = y[r + i][(out + j) * step];
          to = (k == 0 ? 0.0f : to) + sums[i * kTileW + j];
        }
      }
    }
  }
}

}  // namespace

WeightRows::WeightRows(const char* op, const View& weight) : dtype_(weight.dtype) {
  if (simd().dot(dtype_) == nullptr) {
    fail_dtype(op, dtype_);
  }
  const CpuStorage& storage = storage_of(weight);
  if (storage.is_segmented()) {
    storage_ = &storage;
  } else {
    data_ = storage.data();
  }
  start_ = byte_offset(dtype_, weight.layout.offset);
  const int axis = weight.rank() - 2;
  stride_ = axis < 0 ? 0 : byte_offset(dtype_, weight.layout.stride(axis));
}

WeightRows::WeightRows(const float* data, int64_t stride)
    : dtype_(DType::F32),
      data_(reinterpret_cast<const std::byte*>(data)),
      stride_(stride * static_cast<int64_t>(sizeof(float))) {}

void dot_rows(std::span<const float* const> x,
              int64_t n,
              const WeightRows& weight,
              int64_t first,
              int64_t begin,
              int64_t end,
              const DotOutput& y) {
  const auto rows = static_cast<int64_t>(x.size());
  if (n == 0) {
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t out = begin; out < end; ++out) {
        y.rows[r][out * y.step] = 0.0f;
      }
    }
    return;
  }
  if (rows < kTileX) {
    const auto dot = simd().dot(weight.dtype());
    for (int64_t out = begin; out < end; ++out) {
      const std::byte* w = weight.row(first + out);
      for (int64_t r = 0; r < rows; ++r) {
        y.rows[r][out * y.step] = dot(x[static_cast<size_t>(r)], w, n);
      }
    }
    return;
  }
  std::vector<float> buffer(static_cast<size_t>(kTileW * kDepthBlock));
  for (int64_t r = 0; r < rows; r += kRowBlock) {
    const auto block = static_cast<size_t>(std::min(kRowBlock, rows - r));
    for (int64_t out = begin; out < end; out += kTileW) {
      tile_rows(x.subspan(static_cast<size_t>(r), block), n, weight, first + out, out,
                std::min<int64_t>(kTileW, end - out), y.rows + r, y.step, buffer.data());
    }
  }
}

}  // namespace candela::cpu
