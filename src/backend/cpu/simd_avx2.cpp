// Inner loops for AVX2 with FMA and F16C. The instruction set is asked for by a pragma around the
// loops instead of a compiler flag, so that the program starts on any x86-64.
#include "backend/cpu/simd.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include "base/bf16.h"

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#endif

#include "backend/cpu/simd_exp.h"

namespace candela::cpu {

namespace {

struct Avx2 {
  using Floats = __m256;
  using Bytes = __m128i;
  static constexpr int kLanes = 8;
  // Of 16 registers: 12 sums, 3 weights and 1 x; 8 sums, 4 values and 2 factors.
  static constexpr int kDotWeights = 3;
  static constexpr int kMixRows = 2;

  static Floats zero() { return _mm256_setzero_ps(); }
  static Floats set(float value) { return _mm256_set1_ps(value); }
  static Floats load(const float* from) { return _mm256_loadu_ps(from); }
  static void store(float* to, Floats v) { _mm256_storeu_ps(to, v); }
  static Floats add(Floats a, Floats b) { return _mm256_add_ps(a, b); }
  static Floats mul(Floats a, Floats b) { return _mm256_mul_ps(a, b); }
  static Floats div(Floats a, Floats b) { return _mm256_div_ps(a, b); }
  static Floats fma(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
  static void sums(const Floats* v, float* to) {
    const __m256 pairs = _mm256_hadd_ps(_mm256_hadd_ps(v[0], v[1]), _mm256_hadd_ps(v[2], v[3]));
    _mm_storeu_ps(to, _mm_add_ps(_mm256_castps256_ps128(pairs), _mm256_extractf128_ps(pairs, 1)));
  }

  static Floats max(Floats a, Floats b) { return _mm256_max_ps(a, b); }
  static Floats min(Floats a, Floats b) { return _mm256_min_ps(a, b); }
  static Floats round(Floats v) {
    return _mm256_round_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  static Floats power_of_two(Floats n) {
    const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23));
  }

  static Floats from_f16(const std::byte* from) { return _mm256_cvtph_ps(bytes(from)); }
  static Floats from_bf16(const std::byte* from) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bytes(from)), 16));
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
  static Floats floats(Bytes from, int at) {
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(at == 0 ? from : _mm_srli_si128(from, 8)));
  }
};

}  // namespace

const Simd& simd_avx2() {
  static constexpr Simd kTable = table_of<Avx2>("avx2");
  return kTable;
}

}  // namespace candela::cpu

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif
