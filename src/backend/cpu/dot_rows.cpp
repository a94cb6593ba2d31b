#include "backend/cpu/dot_rows.h"

#include <algorithm>
#include <array>

#include "backend/cpu/loops.h"
#include "backend/cpu/simd.h"

namespace candela::cpu {

namespace {

// Weight rows that stay in the second cache while the rows of x pass by, a few at a time in the
// first.
constexpr int64_t kBlockBytes = int64_t{128} * 1024;

std::vector<const std::byte*> rows_of(const WeightRows& weight, int64_t first, int64_t count) {
  std::vector<const std::byte*> out(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    out[static_cast<size_t>(i)] = weight.row(first + i);
  }
  return out;
}

int64_t block_rows(int64_t row_bytes) {
  const int64_t step = simd().dot_weights;
  return std::max<int64_t>(kBlockBytes / std::max<int64_t>(row_bytes, 1) / step, 1) * step;
}

/// Products of a tile of x, up to kDotRows rows, with all of `w`.
template <typename X>
void dot_tile(Simd::Dots<X> dots,
              std::span<const X* const> x,
              int64_t n,
              std::span<const std::byte* const> w,
              float* const* y,
              int64_t step) {
  const auto width = static_cast<size_t>(simd().dot_weights);
  for (size_t o = 0; o < w.size(); o += width) {
    const size_t count = std::min(width, w.size() - o);
    std::array<const std::byte*, 2 * kMaxDotWeights> last;
    const std::byte* const* rows = w.data() + o;
    if (w.size() - o < 2 * width) {
      for (size_t j = 0; j < 2 * width; ++j) {
        last[j] = rows[std::min(j, w.size() - o - 1)];
      }
      rows = last.data();
    }
    float sums[kDotRows * kMaxDotWeights];
    dots(x.data(), rows, n, sums);
    for (size_t i = 0; i < x.size(); ++i) {
      for (size_t j = 0; j < count; ++j) {
        y[i][static_cast<int64_t>(o + j) * step] = sums[i * kMaxDotWeights + j];
      }
    }
  }
}

/// Products of all x rows with all of `w`, the first at column `out`.
template <typename X>
void dot_block(const Simd::DotsByRows<X>& dots,
               std::span<const X* const> x,
               int64_t n,
               std::span<const std::byte* const> w,
               int64_t out,
               const DotOutput& y) {
  // Tiles of nearly equal height: five rows are three and two.
  const size_t tiles = (x.size() + kDotRows - 1) / kDotRows;
  for (size_t t = 0; t < tiles; ++t) {
    const size_t row = x.size() * t / tiles;
    const size_t height = x.size() * (t + 1) / tiles - row;
    std::array<float*, kDotRows> to;
    for (size_t i = 0; i < height; ++i) {
      to[i] = y.rows[row + i] + out * y.step;
    }
    dot_tile(dots[height], x.subspan(row, height), n, w, to.data(), y.step);
  }
}

}  // namespace

WeightRows::WeightRows(const char* op, const View& weight) : dtype_(weight.dtype) {
  if (simd().of(dtype_).widen == nullptr) {
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
  const DType dtype = weight.dtype();
  const Simd& loops = simd();
  // From two tiles on, everything but BF16 is widened once a block instead of once a tile.
  const bool widen = dtype != DType::F32 && dtype != DType::BF16 && x.size() > kDotRows;
  const DType type = widen ? DType::F32 : dtype;
  const int64_t step = block_rows(dtype_bytes(type, n));
  std::vector<float> wide(widen ? static_cast<size_t>(std::min(step, end - begin) * n) : 0);
  for (int64_t out = begin; out < end; out += step) {
    const int64_t count = std::min(step, end - out);
    std::vector<const std::byte*> rows = rows_of(weight, first + out, count);
    for (int64_t i = 0; widen && i < count; ++i) {
      const std::byte*& row = rows[static_cast<size_t>(i)];
      loops.of(dtype).widen(row, n, wide.data() + i * n);
      row = reinterpret_cast<const std::byte*>(wide.data() + i * n);
    }
    dot_block<float>(loops.of(type).dots, x, n, rows, out, y);
  }
}

void dot_rows(std::span<const float* const> x,
              int64_t n,
              DType dtype,
              std::span<const std::byte* const> w,
              const DotOutput& y) {
  dot_block(simd().of(dtype).dots, x, n, w, 0, y);
}

RoundedRows::RoundedRows(int64_t rows, int64_t n) : values_(static_cast<size_t>(rows * n)), n_(n) {
  for (int64_t row = 0; row < rows; ++row) {
    rows_.push_back(values_.data() + row * n);
  }
}

void RoundedRows::set(int64_t row, int64_t begin, std::span<const float> values) {
  simd().narrow(values.data(), static_cast<int64_t>(values.size()),
                values_.data() + row * n_ + begin);
}

RoundedRows rounded(ThreadPool& pool, std::span<const float* const> x, int64_t n) {
  const auto rows = static_cast<int64_t>(x.size());
  RoundedRows out(rows, n);
  pool.parallel_for(rows, row_grain(n), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      out.set(row, 0, {x[static_cast<size_t>(row)], static_cast<size_t>(n)});
    }
  });
  return out;
}

void dot_rows(std::span<const BFloat16* const> x,
              int64_t n,
              const WeightRows& weight,
              int64_t first,
              int64_t begin,
              int64_t end,
              const DotOutput& y) {
  const int64_t step = block_rows(dtype_bytes(DType::BF16, n));
  for (int64_t out = begin; out < end; out += step) {
    const int64_t count = std::min(step, end - out);
    dot_block<BFloat16>(simd().dots_bf16, x, n, rows_of(weight, first + out, count), out, y);
  }
}

}  // namespace candela::cpu
