// Inner loops for AVX2 with FMA and F16C. Each function carries its instruction set itself, so the
// file needs no compiler flags and the program starts on any x86-64.
#include "backend/cpu/simd.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include <cstring>

#include "base/bf16.h"

namespace candela::cpu {

namespace {

constexpr int64_t kBlock = 32;

// 32 weights, widened.
struct Block {
  __m256 part[4];
};

[[gnu::target("avx2,fma,f16c"), gnu::always_inline]] inline float scale_at(const std::byte* from) {
  uint16_t bits = 0;
  std::memcpy(&bits, from, sizeof(bits));
  return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(bits)));
}

[[gnu::target("avx2,fma,f16c"), gnu::always_inline]] inline __m128i load_128(
    const std::byte* from) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
}

struct LoadF32 {
  static constexpr DType kDType = DType::F32;
  [[gnu::target("avx2,fma,f16c"), gnu::always_inline]] static inline Block load(
      const std::byte* w) {
    const auto* from = reinterpret_cast<const float*>(w);
    return {{_mm256_loadu_ps(from), _mm256_loadu_ps(from + 8), _mm256_loadu_ps(from + 16),
             _mm256_loadu_ps(from + 24)}};
  }
  static float one(const std::byte* w) {
    float value = 0.0f;
    std::memcpy(&value, w, sizeof(value));
    return value;
  }
};

struct LoadF16 {
  static constexpr DType kDType = DType::F16;
  [[gnu::target("avx2,fma,f16c"), gnu::always_inline]] static inline Block load(
      const std::byte* w) {
    return {{_mm256_cvtph_ps(load_128(w)), _mm256_cvtph_ps(load_128(w + 16)),
             _mm256_cvtph_ps(load_128(w + 32)), _mm256_cvtph_ps(load_128(w + 48))}};
  }
  static float one(const std::byte* w) {
    Float16 value;
    std::memcpy(&value.bits, w, sizeof(value.bits));
    return to_float(value);
  }
};

struct LoadBf16 {
  static constexpr DType kDType = DType::BF16;
  [[gnu::target("avx2,fma,f16c"), gnu::always_inline]] static inline __m256 part(
      const std::byte* w) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load_128(w)), 16));
  }
  [[gnu::target("avx2,fma,f16c"), gnu::always_inline]] static inline Block load(
      const std::byte* w) {
    return {{part(w), part(w + 16), part(w + 32), part(w + 48)}};
  }
  static float one(const std::byte* w) {
    BFloat16 value;
    std::memcpy(&value.bits, w, sizeof(value.bits));
    return to_float(value);
  }
};

struct LoadQ8 {
  static constexpr DType kDType = DType::Q8_0;
  [[gnu::target("avx2,fma,f16c"), gnu::always_inline]] static inline __m256 part(__m128i q,
                                                                                 __m256 d) {
    return _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(q)), d);
  }
  [[gnu::target("avx2,fma,f16c"), gnu::always_inline]] static inline Block load(
      const std::byte* w) {
    const __m256 d = _mm256_set1_ps(scale_at(w));
    const __m128i low = load_128(w + 2);
    const __m128i high = load_128(w + 18);
    return {{part(low, d), part(_mm_srli_si128(low, 8), d), part(high, d),
             part(_mm_srli_si128(high, 8), d)}};
  }
  static float one(const std::byte*) { return 0.0f; }  // never a partial block
};

// Q4_0 and Q4_1: value = nibble * d + m, with m = -8 d for Q4_0.
[[gnu::target("avx2,fma,f16c"), gnu::always_inline]] inline Block nibbles(const std::byte* q,
                                                                          float scale,
                                                                          float minimum) {
  const __m256 d = _mm256_set1_ps(scale);
  const __m256 m = _mm256_set1_ps(minimum);
  const __m128i both = load_128(q);
  const __m128i mask = _mm_set1_epi8(15);
  const __m128i low = _mm_and_si128(both, mask);
  const __m128i high = _mm_and_si128(_mm_srli_epi16(both, 4), mask);
  const __m128i quarters[4] = {low, _mm_srli_si128(low, 8), high, _mm_srli_si128(high, 8)};
  Block out;
  for (int i = 0; i < 4; ++i) {
    out.part[i] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(quarters[i])), d, m);
  }
  return out;
}

struct LoadQ4 {
  static constexpr DType kDType = DType::Q4_0;
  [[gnu::target("avx2,fma,f16c"), gnu::always_inline]] static inline Block load(
      const std::byte* w) {
    const float d = scale_at(w);
    return nibbles(w + 2, d, -8.0f * d);
  }
  static float one(const std::byte*) { return 0.0f; }
};

struct LoadQ41 {
  static constexpr DType kDType = DType::Q4_1;
  [[gnu::target("avx2,fma,f16c"), gnu::always_inline]] static inline Block load(
      const std::byte* w) {
    return nibbles(w + 4, scale_at(w), scale_at(w + 2));
  }
  static float one(const std::byte*) { return 0.0f; }
};

[[gnu::target("avx2,fma,f16c"), gnu::always_inline]] inline float add_lanes(__m256 v) {
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}

template <typename Load>
[[gnu::target("avx2,fma,f16c")]] float dot(const float* x, const std::byte* w, int64_t n) {
  constexpr int64_t kBytes = dtype_bytes(Load::kDType, kBlock);
  __m256 sums[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(),
                    _mm256_setzero_ps()};
  int64_t i = 0;
  for (; i + kBlock <= n; i += kBlock, w += kBytes) {
    const Block block = Load::load(w);
    for (int j = 0; j < 4; ++j) {
      sums[j] = _mm256_fmadd_ps(_mm256_loadu_ps(x + i + 8 * j), block.part[j], sums[j]);
    }
  }
  float sum =
      add_lanes(_mm256_add_ps(_mm256_add_ps(sums[0], sums[1]), _mm256_add_ps(sums[2], sums[3])));
  for (; i < n; ++i, w += block_bytes(Load::kDType)) {
    sum += x[i] * Load::one(w);
  }
  return sum;
}

template <typename Load>
[[gnu::target("avx2,fma,f16c")]] void widen(const std::byte* w, int64_t n, float* y) {
  constexpr int64_t kBytes = dtype_bytes(Load::kDType, kBlock);
  int64_t i = 0;
  for (; i + kBlock <= n; i += kBlock, w += kBytes) {
    const Block block = Load::load(w);
    for (int j = 0; j < 4; ++j) {
      _mm256_storeu_ps(y + i + 8 * j, block.part[j]);
    }
  }
  for (; i < n; ++i, w += block_bytes(Load::kDType)) {
    y[i] = Load::one(w);
  }
}

template <typename Load>
[[gnu::target("avx2,fma,f16c")]] void axpy(float a, const std::byte* x, int64_t n, float* y) {
  constexpr int64_t kBytes = dtype_bytes(Load::kDType, kBlock);
  const __m256 factor = _mm256_set1_ps(a);
  int64_t i = 0;
  for (; i + kBlock <= n; i += kBlock, x += kBytes) {
    const Block block = Load::load(x);
    for (int j = 0; j < 4; ++j) {
      float* to = y + i + 8 * j;
      _mm256_storeu_ps(to, _mm256_fmadd_ps(factor, block.part[j], _mm256_loadu_ps(to)));
    }
  }
  for (; i < n; ++i, x += block_bytes(Load::kDType)) {
    y[i] += a * Load::one(x);
  }
}

[[gnu::target("avx2,fma,f16c")]] void tile(
    const float* const* x, const float* w, int64_t w_stride, int64_t n, float* sums) {
  __m256 acc[kTileX][kTileW];
  for (auto& row : acc) {
    for (__m256& sum : row) {
      sum = _mm256_setzero_ps();
    }
  }
  const float* const x0 = x[0];
  const float* const x1 = x[1];
  const float* const x2 = x[2];
  const float* const x3 = x[3];
  int64_t k = 0;
  for (; k + 8 <= n; k += 8) {
    const __m256 weights[kTileW] = {_mm256_loadu_ps(w + k), _mm256_loadu_ps(w + w_stride + k),
                                    _mm256_loadu_ps(w + 2 * w_stride + k)};
    const float* const at[kTileX] = {x0 + k, x1 + k, x2 + k, x3 + k};
#pragma GCC unroll 4
    for (int i = 0; i < kTileX; ++i) {
      const __m256 value = _mm256_loadu_ps(at[i]);
#pragma GCC unroll 3
      for (int j = 0; j < kTileW; ++j) {
        acc[i][j] = _mm256_fmadd_ps(value, weights[j], acc[i][j]);
      }
    }
  }
  for (int i = 0; i < kTileX; ++i) {
    for (int j = 0; j < kTileW; ++j) {
      float sum = add_lanes(acc[i][j]);
      for (int64_t rest = k; rest < n; ++rest) {
        sum += x[i][rest] * w[j * w_stride + rest];
      }
      sums[i * kTileW + j] = sum;
    }
  }
}

}  // namespace

const Simd& simd_avx2() {
  static constexpr Simd kTable = {
      "avx2",
      {dot<LoadF32>, dot<LoadF16>, dot<LoadBf16>, nullptr, nullptr, nullptr, nullptr, dot<LoadQ8>,
       dot<LoadQ4>, dot<LoadQ41>},
      {widen<LoadF32>, widen<LoadF16>, widen<LoadBf16>, nullptr, nullptr, nullptr, nullptr,
       widen<LoadQ8>, widen<LoadQ4>, widen<LoadQ41>},
      {axpy<LoadF32>, axpy<LoadF16>, axpy<LoadBf16>, nullptr, nullptr, nullptr, nullptr,
       axpy<LoadQ8>, axpy<LoadQ4>, axpy<LoadQ41>},
      tile};
  return kTable;
}

}  // namespace candela::cpu

#endif
