#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/dtype.h"

namespace candela::cpu {

inline constexpr size_t kDTypes = std::size(kAllDTypes);

/// x rows and weight rows of one register tile: 12 sums, 3 weights and 1 x fill the 16 vector
/// registers of AVX2.
inline constexpr int kTileX = 4;
inline constexpr int kTileW = 3;

/// The inner loops, one table for each instruction set. Arrays go by DType and are null for
/// integers. Pointers to weights need no alignment; n of block types is a multiple of 32.
struct Simd {
  using Dot = float (*)(const float* x, const std::byte* w, int64_t n);
  using Widen = void (*)(const std::byte* w, int64_t n, float* y);
  using Axpy = void (*)(float a, const std::byte* x, int64_t n, float* y);
  using Tile =
      void (*)(const float* const* x, const float* w, int64_t w_stride, int64_t n, float* sums);

  const char* name;
  std::array<Dot, kDTypes> dots;      ///< sum of x[i] * w[i]
  std::array<Widen, kDTypes> widens;  ///< y[i] = w[i]
  std::array<Axpy, kDTypes> axpys;    ///< y[i] += a * x[i]
  /// sums[i * kTileW + j] = x[i] . w[j]; w has kTileW rows, w_stride apart.
  Tile tile;

  Dot dot(DType dtype) const { return dots[static_cast<size_t>(dtype)]; }
  Widen widen(DType dtype) const { return widens[static_cast<size_t>(dtype)]; }
  Axpy axpy(DType dtype) const { return axpys[static_cast<size_t>(dtype)]; }
};

/// The best table this processor can run.
const Simd& simd();

/// All tables this processor can run, for tests; the portable one is first.
std::span<const Simd* const> simd_variants();

const Simd& simd_portable();
#if defined(__x86_64__)
const Simd& simd_avx2();
const Simd& simd_avx512();
#endif

}  // namespace candela::cpu
