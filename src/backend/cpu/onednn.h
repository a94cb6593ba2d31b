#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "backend/cpu/dot_rows.h"
#include "base/bf16.h"

namespace candela::cpu {

/// oneDNN's BF16 products, opened at run time. What it is for is the matrix unit (AMX) of Xeons,
/// which it drives at several times the speed of vector instructions. Each call computes on the
/// thread that makes it; any number of threads may call at once.
class OneDnn {
 public:
  /// Weight rows that are taken together: callers that split a matrix at multiples of it meet few
  /// different shapes, each of which has code made for it.
  static constexpr int64_t kUnit = 64;

  /// @param path  of libdnnl; empty: the one that scripts/setup fetched or a bundle carries
  /// @throws Unavailable  if it cannot be opened, lacks a function, or has no BF16 products on this
  ///                      processor
  explicit OneDnn(const std::string& path);
  ~OneDnn();
  OneDnn(const OneDnn&) = delete;
  OneDnn& operator=(const OneDnn&) = delete;

  /// Whether this processor has the matrix unit. Opens nothing.
  static bool processor_has_amx();
  /// Whether the library is where the constructor looks for it.
  static bool is_found();

  /// "oneDNN 3.2.0", and whether with AMX.
  std::string name() const;

  /// Products of all x rows (n numbers each) with the BF16 weight rows [first, first + count),
  /// summed in F32: that of x row r and weight row first + o goes to
  /// y.rows[r][(column + o) * y.step].
  void multiply(std::span<const BFloat16* const> x,
                int64_t n,
                const WeightRows& weight,
                int64_t first,
                int64_t count,
                int64_t column,
                const DotOutput& y) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace candela::cpu
