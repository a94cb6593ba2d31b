// Inner loops for AVX-512 (foundation only), and with its products of BF16 pairs. As in
// simd_avx2.cpp a pragma asks for the instruction set.
#include "backend/cpu/simd.h"

#if defined(__x86_64__)

#if defined(__GNUC__) && !defined(__clang__)
// The headers of GCC 12 start from undefined registers on purpose and warn about it themselves.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#include <immintrin.h>

#include "base/bf16.h"

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx2,fma,f16c")
#endif

#include "backend/cpu/simd_exp.h"

namespace candela::cpu {

namespace {

/// to[i] = the sum of the lanes of v[i], i < 4.
inline void sum_four(const __m512* v, float* to) {
  const __m512 a =
      _mm512_add_ps(_mm512_shuffle_f32x4(v[0], v[1], 0x44), _mm512_shuffle_f32x4(v[0], v[1], 0xee));
  const __m512 b =
      _mm512_add_ps(_mm512_shuffle_f32x4(v[2], v[3], 0x44), _mm512_shuffle_f32x4(v[2], v[3], 0xee));
  // 16 bytes of partial sums for each vector.
  __m512 sum = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
  sum = _mm512_add_ps(sum, _mm512_permute_ps(sum, _MM_SHUFFLE(1, 0, 3, 2)));
  sum = _mm512_add_ps(sum, _mm512_permute_ps(sum, _MM_SHUFFLE(2, 3, 0, 1)));
  const __m512i firsts = _mm512_setr_epi32(0, 4, 8, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
  _mm_storeu_ps(to, _mm512_castps512_ps128(_mm512_permutexvar_ps(firsts, sum)));
}

struct Avx512 {
  using Floats = __m512;
  using Bytes = __m128i;
  static constexpr int kLanes = 16;
  static constexpr int kDotWeights = 4;
  static constexpr int kMixRows = 4;

  static Floats zero() { return _mm512_setzero_ps(); }
  static Floats set(float value) { return _mm512_set1_ps(value); }
  static Floats load(const float* from) { return _mm512_loadu_ps(from); }
  static void store(float* to, Floats v) { _mm512_storeu_ps(to, v); }
  static Floats add(Floats a, Floats b) { return _mm512_add_ps(a, b); }
  static Floats mul(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
  static Floats div(Floats a, Floats b) { return _mm512_div_ps(a, b); }
  static Floats fma(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
  static void sums(const Floats* v, float* to) { sum_four(v, to); }

  static Floats max(Floats a, Floats b) { return _mm512_max_ps(a, b); }
  static Floats min(Floats a, Floats b) { return _mm512_min_ps(a, b); }
  static Floats round(Floats v) {
    return _mm512_roundscale_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  static Floats power_of_two(Floats n) {
    const __m512i exponent = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
    return _mm512_castsi512_ps(_mm512_slli_epi32(exponent, 23));
  }

  static Floats from_f16(const std::byte* from) { return _mm512_cvtph_ps(half(from)); }
  static Floats from_bf16(const std::byte* from) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half(from)), 16));
  }

  static float f16(const std::byte* from) {
    uint16_t bits = 0;
    __builtin_memcpy(&bits, from, sizeof(bits));
    return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(bits)));
  }
  static Bytes bytes(const std::byte* from) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  }
  static Bytes low(Bytes both) { return _mm_and_si128(both, _mm_set1_epi8(15)); }
  static Bytes high(Bytes both) { return low(_mm_srli_epi16(both, 4)); }
  static Floats floats(Bytes from, int) { return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(from)); }

 private:
  static __m256i half(const std::byte* from) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  }
};

}  // namespace

const Simd& simd_avx512() {
  static constexpr Simd kTable = table_of<Avx512>("avx512");
  return kTable;
}

}  // namespace candela::cpu

#if defined(__clang__)
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx512f,avx512bf16,avx2,fma,f16c"))), \
                             apply_to = function)
#else
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bf16,avx2,fma,f16c")
#endif

namespace candela::cpu {

namespace {

template <int kRows>
void dots_bf16(const BFloat16* const* x, const std::byte* const* w, int64_t n, float* sums) {
  constexpr int kWeights = Avx512::kDotWeights;
  __m512 acc[kRows][kWeights];
  for (auto& row : acc) {
    for (__m512& sum : row) {
      sum = _mm512_setzero_ps();
    }
  }
  int64_t i = 0;
  for (; i + kBlock <= n; i += kBlock) {
    __m512bh weights[kWeights];
#pragma GCC unroll 4
    for (int j = 0; j < kWeights; ++j) {
      weights[j] = reinterpret_cast<__m512bh>(_mm512_loadu_si512(w[j] + 2 * i));
    }
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      const auto values = reinterpret_cast<__m512bh>(_mm512_loadu_si512(x[r] + i));
#pragma GCC unroll 4
      for (int j = 0; j < kWeights; ++j) {
        acc[r][j] = _mm512_dpbf16_ps(acc[r][j], values, weights[j]);
      }
    }
  }
  for (int r = 0; r < kRows; ++r) {
    float* to = sums + ptrdiff_t{r} * kMaxDotWeights;
    sum_four(acc[r], to);
    for (int j = 0; i < n && j < kWeights; ++j) {
      for (int64_t k = i; k < n; ++k) {
        to[j] += to_float(x[r][k]) * Weights<Avx512, DType::BF16>::one(w[j] + 2 * k);
      }
    }
  }
}

}  // namespace

const Simd& simd_avx512_bf16() {
  static constexpr Simd kTable = [] {
    Simd table = table_of<Avx512>("avx512_bf16");
    table.dots_bf16 = {nullptr, dots_bf16<1>, dots_bf16<2>, dots_bf16<3>, dots_bf16<4>};
    return table;
  }();
  return kTable;
}

}  // namespace candela::cpu

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif
