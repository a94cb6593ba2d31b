#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "backend/cpu/storage.h"
#include "base/bf16.h"
#include "base/threads.h"

namespace candela::cpu {

/// The rows of a weight [.., n] wherever they lie: one block, narrowed, or scattered over mapped
/// files. Rows of [experts, out, in] count through all experts.
class WeightRows {
 public:
  WeightRows(const char* op, const View& weight);
  /// Plain F32 rows in memory.
  WeightRows(const float* data, int64_t stride);

  DType dtype() const { return dtype_; }
  const std::byte* row(int64_t index) const {
    const int64_t offset = start_ + index * stride_;
    return storage_ == nullptr ? data_ + offset
                               : storage_->from(static_cast<uint64_t>(offset)).data();
  }

 private:
  DType dtype_;
  const CpuStorage* storage_ = nullptr;  // only if segmented
  const std::byte* data_ = nullptr;
  int64_t start_ = 0;   // bytes
  int64_t stride_ = 0;  // bytes
};

/// Where the products go: that of x row r and weight row first + o is written to
/// rows[r][o * step].
struct DotOutput {
  float* const* rows;
  int64_t step = 1;
};

/// Products of all x rows (n floats each) with weight rows [first + begin, first + end), summed in
/// F32. Weights are read once and widened in registers.
void dot_rows(std::span<const float* const> x,
              int64_t n,
              const WeightRows& weight,
              int64_t first,
              int64_t begin,
              int64_t end,
              const DotOutput& y);

/// Products with the rows at `w`: y.rows[r][o * y.step] = x[r] . w[o].
void dot_rows(std::span<const float* const> x,
              int64_t n,
              DType dtype,
              std::span<const std::byte* const> w,
              const DotOutput& y);

/// Rows of n floats that were rounded to BF16.
class RoundedRows {
 public:
  RoundedRows(int64_t rows, int64_t n);

  /// Elements [begin, ...) of one row.
  void set(int64_t row, int64_t begin, std::span<const float> values);
  std::span<const BFloat16* const> rows() const { return rows_; }

 private:
  std::vector<BFloat16> values_;
  std::vector<const BFloat16*> rows_;
  int64_t n_;
};

/// All elements of `x`.
RoundedRows rounded(ThreadPool& pool, std::span<const float* const> x, int64_t n);

/// The same products with rows of x that were rounded to BF16.
void dot_rows(std::span<const BFloat16* const> x,
              int64_t n,
              const WeightRows& weight,
              int64_t first,
              int64_t begin,
              int64_t end,
              const DotOutput& y);

}  // namespace candela::cpu
