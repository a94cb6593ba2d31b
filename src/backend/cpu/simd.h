#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/bf16.h"
#include "base/dtype.h"

namespace candela::cpu {

inline constexpr size_t kDTypes = std::size(kAllDTypes);

/// Bounds of one register tile: rows of x, and rows of the weight on any processor.
inline constexpr int kDotRows = 4;
inline constexpr int kMaxDotWeights = 4;

/// The inner loops, one table for each instruction set. Arrays by DType are null for integers.
/// Pointers to weights need no alignment; n of block types is a multiple of 32.
struct Simd {
  /// sums[r * kMaxDotWeights + j] = x[r] . w[j] for `dot_weights` weight rows, summed in F32. A
  /// weight is read once for all rows of x and widened in registers. The pointers of as many more
  /// rows follow in w: those of the next call, which are only fetched.
  template <typename X>
  using Dots = void (*)(const X* const* x, const std::byte* const* w, int64_t n, float* sums);
  /// By the number of rows of x, 1 to kDotRows.
  template <typename X>
  using DotsByRows = std::array<Dots<X>, kDotRows + 1>;

  /// Loops over one type of weight.
  struct Loops {
    DotsByRows<float> dots = {};
    /// y[i] = w[i]
    void (*widen)(const std::byte* w, int64_t n, float* y) = nullptr;
    /// y[r][i] += sum over s < count of a[r][s] * v[s][i]
    void (*mix)(const float* const* a,
                int rows,
                const std::byte* const* v,
                int64_t count,
                int64_t n,
                float* const* y) = nullptr;
  };

  const char* name;
  std::array<Loops, kDTypes> by_dtype;
  int dot_weights;
  /// BF16 x with BF16 weights; null where the processor has no such products.
  DotsByRows<BFloat16> dots_bf16;
  /// y[i] = to_bf16(x[i])
  void (*narrow)(const float* x, int64_t n, BFloat16* y);
  /// y = softmax of x, in place if x == y; returns the logarithm of the sum of exp(x). -inf counts
  /// as masked; a row of nothing else becomes zeros.
  float (*softmax)(const float* x, int64_t n, float* y);
  /// y[i] = silu(gate[i]) * up[i]
  void (*swiglu)(const float* gate, const float* up, int64_t n, float* y);

  /// Multiplies and adds in registers, to measure what the processor can do; returns the number of
  /// operations.
  int64_t (*multiply_add)(int64_t rounds);

  const Loops& of(DType dtype) const { return by_dtype[static_cast<size_t>(dtype)]; }
};

/// The best table this processor can run, or the one that CANDELA_SIMD names.
const Simd& simd();

/// All tables this processor can run, for tests; the portable one is first.
std::span<const Simd* const> simd_variants();

const Simd& simd_portable();
#if defined(__x86_64__)
const Simd& simd_avx2();
const Simd& simd_avx512();
const Simd& simd_avx512_bf16();  ///< with products of BF16 pairs
#endif

}  // namespace candela::cpu
