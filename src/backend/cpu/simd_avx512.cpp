// Inner loops for AVX-512 (foundation only). Each function carries its instruction set itself, so
// the file needs no compiler flags and the program starts on any x86-64.
#include "backend/cpu/simd.h"

#if defined(__x86_64__)

#if defined(__GNUC__) && !defined(__clang__)
// The headers of GCC 12 start from undefined registers on purpose and warn about it themselves.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#include <immintrin.h>

#include <cstring>

#include "base/bf16.h"

namespace candela::cpu {

namespace {

constexpr int64_t kBlock = 32;

// 32 weights, widened.
struct Block {
  __m512 part[2];
};

[[gnu::target("avx512f,avx2,fma,f16c"), gnu::always_inline]] inline float scale_at(
    const std::byte* from) {
  uint16_t bits = 0;
  std::memcpy(&bits, from, sizeof(bits));
  return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(bits)));
}

[[gnu::target("avx512f,avx2,fma,f16c"), gnu::always_inline]] inline __m128i load_128(
    const std::byte* from) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
}

[[gnu::target("avx512f,avx2,fma,f16c"), gnu::always_inline]] inline __m256i load_256(
    const std::byte* from) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
}

struct LoadF32 {
  static constexpr DType kDType = DType::F32;
  [[gnu::target("avx512f,avx2,fma,f16c"), gnu::always_inline]] static inline Block load(
      const std::byte* w) {
    const auto* from = reinterpret_cast<const float*>(w);
    return {{_mm512_loadu_ps(from), _mm512_loadu_ps(from + 16)}};
  }
  static float one(const std::byte* w) {
    float value = 0.0f;
    std::memcpy(&value, w, sizeof(value));
    return value;
  }
};

struct LoadF16 {
  static constexpr DType kDType = DType::F16;
  [[gnu::target("avx512f,avx2,fma,f16c"), gnu::always_inline]] static inline Block load(
      const std::byte* w) {
    return {{_mm512_cvtph_ps(load_256(w)), _mm512_cvtph_ps(load_256(w + 32))}};
  }
  static float one(const std::byte* w) {
    Float16 value;
    std::memcpy(&value.bits, w, sizeof(value.bits));
    return to_float(value);
  }
};

struct LoadBf16 {
  static constexpr DType kDType = DType::BF16;
  [[gnu::target("avx512f,avx2,fma,f16c"), gnu::always_inline]] static inline __m512 part(
      const std::byte* w) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(load_256(w)), 16));
  }
  [[gnu::target("avx512f,avx2,fma,f16c"), gnu::always_inline]] static inline Block load(
      const std::byte* w) {
    return {{part(w), part(w + 32)}};
  }
  static float one(const std::byte* w) {
    BFloat16 value;
    std::memcpy(&value.bits, w, sizeof(value.bits));
    return to_float(value);
  }
};

struct LoadQ8 {
  static constexpr DType kDType = DType::Q8_0;
  [[gnu::target("avx512f,avx2,fma,f16c"), gnu::always_inline]] static inline Block load(
      const std::byte* w) {
    const __m512 d = _mm512_set1_ps(scale_at(w));
    const __m512i low = _mm512_cvtepi8_epi32(load_128(w + 2));
    const __m512i high = _mm512_cvtepi8_epi32(load_128(w + 18));
    return {
        {_mm512_mul_ps(_mm512_cvtepi32_ps(low), d), _mm512_mul_ps(_mm512_cvtepi32_ps(high), d)}};
  }
  static float one(const std::byte*) { return 0.0f; }  // never a partial block
};

// Q4_0 and Q4_1: value = nibble * d + m, with m = -8 d for Q4_0.
[[gnu::target("avx512f,avx2,fma,f16c"), gnu::always_inline]] inline Block nibbles(
    const std::byte* q, float scale, float minimum) {
  const __m512 d = _mm512_set1_ps(scale);
  const __m512 m = _mm512_set1_ps(minimum);
  const __m128i both = load_128(q);
  const __m128i mask = _mm_set1_epi8(15);
  const __m512i low = _mm512_cvtepu8_epi32(_mm_and_si128(both, mask));
  const __m512i high = _mm512_cvtepu8_epi32(_mm_and_si128(_mm_srli_epi16(both, 4), mask));
  return {{_mm512_fmadd_ps(_mm512_cvtepi32_ps(low), d, m),
           _mm512_fmadd_ps(_mm512_cvtepi32_ps(high), d, m)}};
}

struct LoadQ4 {
  static constexpr DType kDType = DType::Q4_0;
  [[gnu::target("avx512f,avx2,fma,f16c"), gnu::always_inline]] static inline Block load(
      const std::byte* w) {
    const float d = scale_at(w);
    return nibbles(w + 2, d, -8.0f * d);
  }
  static float one(const std::byte*) { return 0.0f; }
};

struct LoadQ41 {
  static constexpr DType kDType = DType::Q4_1;
  [[gnu::target("avx512f,avx2,fma,f16c"), gnu::always_inline]] static inline Block load(
      const std::byte* w) {
    return nibbles(w + 4, scale_at(w), scale_at(w + 2));
  }
  static float one(const std::byte*) { return 0.0f; }
};

template <typename Load>
[[gnu::target("avx512f,avx2,fma,f16c")]] float dot(const float* x, const std::byte* w, int64_t n) {
  constexpr int64_t kBytes = dtype_bytes(Load::kDType, kBlock);
  __m512 sums[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
  int64_t i = 0;
  for (; i + kBlock <= n; i += kBlock, w += kBytes) {
    const Block block = Load::load(w);
    for (int j = 0; j < 2; ++j) {
      sums[j] = _mm512_fmadd_ps(_mm512_loadu_ps(x + i + 16 * j), block.part[j], sums[j]);
    }
  }
  float sum = _mm512_reduce_add_ps(_mm512_add_ps(sums[0], sums[1]));
  for (; i < n; ++i, w += block_bytes(Load::kDType)) {
    sum += x[i] * Load::one(w);
  }
  return sum;
}

template <typename Load>
[[gnu::target("avx512f,avx2,fma,f16c")]] void widen(const std::byte* w, int64_t n, float* y) {
  constexpr int64_t kBytes = dtype_bytes(Load::kDType, kBlock);
  int64_t i = 0;
  for (; i + kBlock <= n; i += kBlock, w += kBytes) {
    const Block block = Load::load(w);
    for (int j = 0; j < 2; ++j) {
      _mm512_storeu_ps(y + i + 16 * j, block.part[j]);
    }
  }
  for (; i < n; ++i, w += block_bytes(Load::kDType)) {
    y[i] = Load::one(w);
  }
}

template <typename Load>
[[gnu::target("avx512f,avx2,fma,f16c")]] void axpy(float a,
                                                   const std::byte* x,
                                                   int64_t n,
                                                   float* y) {
  constexpr int64_t kBytes = dtype_bytes(Load::kDType, kBlock);
  const __m512 factor = _mm512_set1_ps(a);
  int64_t i = 0;
  for (; i + kBlock <= n; i += kBlock, x += kBytes) {
    const Block block = Load::load(x);
    for (int j = 0; j < 2; ++j) {
      float* to = y + i + 16 * j;
      _mm512_storeu_ps(to, _mm512_fmadd_ps(factor, block.part[j], _mm512_loadu_ps(to)));
    }
  }
  for (; i < n; ++i, x += block_bytes(Load::kDType)) {
    y[i] += a * Load::one(x);
  }
}

[[gnu::target("avx512f,avx2,fma,f16c")]] void tile(
    const float* const* x, const float* w, int64_t w_stride, int64_t n, float* sums) {
  __m512 acc[kTileX][kTileW];
  for (auto& row : acc) {
    for (__m512& sum : row) {
      sum = _mm512_setzero_ps();
    }
  }
  const float* const x0 = x[0];
  const float* const x1 = x[1];
  const float* const x2 = x[2];
  const float* const x3 = x[3];
  int64_t k = 0;
  for (; k + 16 <= n; k += 16) {
    const __m512 weights[kTileW] = {_mm512_loadu_ps(w + k), _mm512_loadu_ps(w + w_stride + k),
                                    _mm512_loadu_ps(w + 2 * w_stride + k)};
    const float* const at[kTileX] = {x0 + k, x1 + k, x2 + k, x3 + k};
#pragma GCC unroll 4
    for (int i = 0; i < kTileX; ++i) {
      const __m512 value = _mm512_loadu_ps(at[i]);
#pragma GCC unroll 3
      for (int j = 0; j < kTileW; ++j) {
        acc[i][j] = _mm512_fmadd_ps(value, weights[j], acc[i][j]);
      }
    }
  }
  for (int i = 0; i < kTileX; ++i) {
    for (int j = 0; j < kTileW; ++j) {
      float sum = _mm512_reduce_add_ps(acc[i][j]);
      for (int64_t rest = k; rest < n; ++rest) {
        sum += x[i][rest] * w[j * w_stride + rest];
      }
      sums[i * kTileW + j] = sum;
    }
  }
}

}  // namespace

const Simd& simd_avx512() {
  static constexpr Simd kTable = {
      "avx512",
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
