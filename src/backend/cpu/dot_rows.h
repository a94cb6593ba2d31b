#pragma once

#include <cstdint>
#include <span>

#include "backend/cpu/storage.h"

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
/// F32. Up to three x rows read each weight once, widened in registers; more go through register
/// tiles over a small widened piece of the weight.
void dot_rows(std::span<const float* const> x,
              int64_t n,
              const WeightRows& weight,
              int64_t first,
              int64_t begin,
              int64_t end,
              const DotOutput& y);

}  // namespace candela::cpu
