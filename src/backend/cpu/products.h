#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <type_traits>

#include "backend/cpu/dot_rows.h"
#include "backend/cpu/onednn.h"
#include "base/threads.h"

namespace candela::cpu {

/// How a backend takes the products of rows with weights: exactly, or in the fast class of rows
/// rounded to BF16, multiplied by own loops or by oneDNN.
class Products {
 public:
  /// @param onednn  see Device::cpu
  Products(Precision precision, const std::string& onednn);

  /// Empty, or the library that the fast class uses.
  std::string library() const { return onednn_ == nullptr ? "" : onednn_->name(); }

  /// Whether products of so many rows with such a weight are to be taken of rounded rows: that is
  /// asked for, gains time, and something here has such products.
  bool rounds(int64_t rows, DType weight) const;

  /// Products as dot_rows takes them.
  void operator()(std::span<const float* const> x,
                  int64_t n,
                  const WeightRows& weight,
                  int64_t first,
                  int64_t begin,
                  int64_t end,
                  const DotOutput& y) const {
    dot_rows(x, n, weight, first, begin, end, y);
  }
  void operator()(std::span<const BFloat16* const> x,
                  int64_t n,
                  const WeightRows& weight,
                  int64_t first,
                  int64_t begin,
                  int64_t end,
                  const DotOutput& y) const;

  /// Calls `body(matrix, begin, end)` for ranges of rows that cover each of `matrices` matrices of
  /// `rows` rows, on all threads, each range about `grain` rows or longer.
  /// @tparam X  of the rows that are multiplied: float or BFloat16
  template <typename X, typename Body>
  void over_rows(
      ThreadPool& pool, int64_t matrices, int64_t rows, int64_t grain, const Body& body) const {
    const int64_t unit =
        onednn_ != nullptr && std::is_same_v<X, BFloat16> ? OneDnn::kUnit : int64_t{1};
    const int64_t units = (rows + unit - 1) / unit;
    pool.parallel_for(matrices * units, (grain + unit - 1) / unit, [&](int64_t begin, int64_t end) {
      while (begin < end) {
        const int64_t from = begin % units;
        const int64_t to = std::min(units, from + end - begin);
        body(begin / units, from * unit, std::min(rows, to * unit));
        begin += to - from;
      }
    });
  }

 private:
  Precision precision_;
  std::unique_ptr<OneDnn> onednn_;  ///< null: own loops multiply
};

}  // namespace candela::cpu
