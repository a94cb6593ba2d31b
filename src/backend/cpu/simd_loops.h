// The inner loops, once for all instruction sets: templates over a vector type V. Included by
// simd_<set>.cpp only, inside of the region whose functions may use that set; so nothing here may
// call a function that could be compiled without it (no std:: templates) and the types V are local
// to their file.
//
// V has kLanes floats as V::Floats and 16 bytes as V::Bytes:
//   zero, set, load, store, add, mul, div, fma (a * b + c), sums (of each of four vectors)
//   max, min (the second if either is NaN), round, power_of_two (of whole numbers >= -127)
//   from_f16, from_bf16 (kLanes halves in memory)
//   f16 (one in memory), bytes (16 in memory), low, high (nibbles of each byte), floats (bytes [at
//   * kLanes, ...), signed) rows (words [k, k + 4) of every fourth of kLanes rows), merge_low,
//   merge_high (words or pairs of words of two vectors in turn, within 16 bytes), for interleaving
#pragma once

#include "backend/cpu/simd.h"
#include "base/bf16.h"

namespace candela::cpu {

namespace {

constexpr int64_t kBlock = 32;

template <typename V>
constexpr int kParts = kBlock / V::kLanes;

/// 32 weights that are widened a vector at a time.
template <typename V, DType D>
struct Weights;

template <typename V>
struct Weights<V, DType::F32> {
  const std::byte* from = nullptr;
  Weights() = default;
  explicit Weights(const std::byte* w) : from(w) {}
  typename V::Floats part(int p) const {
    return V::load(reinterpret_cast<const float*>(from) + p * V::kLanes);
  }
  static float one(const std::byte* w) {
    float value;
    __builtin_memcpy(&value, w, sizeof(value));
    return value;
  }
};

template <typename V>
struct Weights<V, DType::F16> {
  const std::byte* from = nullptr;
  Weights() = default;
  explicit Weights(const std::byte* w) : from(w) {}
  typename V::Floats part(int p) const { return V::from_f16(from + 2 * p * V::kLanes); }
  static float one(const std::byte* w) { return V::f16(w); }
};

template <typename V>
struct Weights<V, DType::BF16> {
  const std::byte* from = nullptr;
  Weights() = default;
  explicit Weights(const std::byte* w) : from(w) {}
  typename V::Floats part(int p) const { return V::from_bf16(from + 2 * p * V::kLanes); }
  static float one(const std::byte* w) {
    BFloat16 value;
    __builtin_memcpy(&value.bits, w, sizeof(value.bits));
    return to_float(value);
  }
};

/// Blocks of signed bytes: value = byte * d + m.
template <typename V>
struct Scaled {
  typename V::Bytes low, high;
  typename V::Floats d, m;
  Scaled() = default;
  Scaled(typename V::Bytes first, typename V::Bytes second, float scale, float minimum)
      : low(first), high(second), d(V::set(scale)), m(V::set(minimum)) {}
  typename V::Floats part(int p) const {
    constexpr int kHalf = kParts<V> / 2;
    return V::fma(p < kHalf ? V::floats(low, p) : V::floats(high, p - kHalf), d, m);
  }
  static float one(const std::byte*) { return 0.0f; }  // never a partial block
};

template <typename V>
struct Weights<V, DType::Q8_0> : Scaled<V> {
  Weights() = default;
  explicit Weights(const std::byte* w)
      : Scaled<V>(V::bytes(w + 2), V::bytes(w + 18), V::f16(w), 0.0f) {}
};

/// Halves with scales of their own.
template <typename V>
struct Weights<V, DType::Q8_16> {
  typename V::Bytes low, high;
  typename V::Floats d_low, d_high;
  Weights() = default;
  explicit Weights(const std::byte* w)
      : low(V::bytes(w + 4)),
        high(V::bytes(w + 20)),
        d_low(V::set(V::f16(w))),
        d_high(V::set(V::f16(w + 2))) {}
  typename V::Floats part(int p) const {
    constexpr int kHalf = kParts<V> / 2;
    return p < kHalf ? V::mul(V::floats(low, p), d_low)
                     : V::mul(V::floats(high, p - kHalf), d_high);
  }
  static float one(const std::byte*) { return 0.0f; }  // never a partial block
};

template <typename V>
struct Weights<V, DType::Q4_0> : Scaled<V> {
  Weights() = default;
  explicit Weights(const std::byte* w)
      : Scaled<V>(V::low(V::bytes(w + 2)), V::high(V::bytes(w + 2)), V::f16(w), -8.0f * V::f16(w)) {
  }
};

template <typename V>
struct Weights<V, DType::Q4_1> : Scaled<V> {
  Weights() = default;
  explicit Weights(const std::byte* w)
      : Scaled<V>(V::low(V::bytes(w + 4)), V::high(V::bytes(w + 4)), V::f16(w), V::f16(w + 2)) {}
};

/// The products of elements that are left behind the last block.
template <typename V, DType D, int kRows>
void add_rest(
    const float* const* x, const std::byte* const* w, int64_t begin, int64_t n, float* sums) {
  for (int r = 0; begin < n && r < kRows; ++r) {
    for (int j = 0; j < V::kDotWeights; ++j) {
      for (int64_t k = begin; k < n; ++k) {
        sums[r * kMaxDotWeights + j] += x[r][k] * Weights<V, D>::one(w[j] + dtype_bytes(D, k));
      }
    }
  }
}

/// One row of x: memory is the bound, and it is read fastest from end to end, a row after the
/// other.
template <typename V, DType D>
void dots_one(const float* const* x, const std::byte* const* w, int64_t n, float* sums) {
  typename V::Floats totals[4] = {V::zero(), V::zero(), V::zero(), V::zero()};
  int64_t i = 0;
  for (int j = 0; j < V::kDotWeights; ++j) {
    const std::byte* from = w[j];
    typename V::Floats acc[kParts<V>];
    for (auto& sum : acc) {
      sum = V::zero();
    }
    for (i = 0; i + kBlock <= n; i += kBlock, from += dtype_bytes(D, kBlock)) {
      const Weights<V, D> block(from);
#pragma GCC unroll 8
      for (int p = 0; p < kParts<V>; ++p) {
        acc[p] = V::fma(V::load(x[0] + i + p * V::kLanes), block.part(p), acc[p]);
      }
    }
    for (const auto& sum : acc) {
      totals[j] = V::add(totals[j], sum);
    }
  }
  V::sums(totals, sums);
  add_rest<V, D, 1>(x, w, i, n, sums);
}

/// Several rows of x: weights of one tile pass by together. Types that are read from memory only
/// (dot_rows widens them once for more rows than these) fetch those of the next tile.
template <typename V, DType D, int kRows>
void dots(const float* const* x, const std::byte* const* w, int64_t n, float* sums) {
  constexpr int kWeights = V::kDotWeights;
  typename V::Floats acc[kRows][4];  // V::sums takes four
  for (auto& row : acc) {
    for (auto& sum : row) {
      sum = V::zero();
    }
  }
  int64_t i = 0;
  int64_t at = 0;
  for (; i + kBlock <= n; i += kBlock, at += dtype_bytes(D, kBlock)) {
    Weights<V, D> blocks[kWeights];
#pragma GCC unroll 4
    for (int j = 0; j < kWeights; ++j) {
      blocks[j] = Weights<V, D>(w[j] + at);
      if constexpr (D != DType::F32 && D != DType::BF16) {
        __builtin_prefetch(w[kWeights + j] + at);
      }
    }
#pragma GCC unroll 8
    for (int p = 0; p < kParts<V>; ++p) {
      typename V::Floats wide[kWeights];
#pragma GCC unroll 4
      for (int j = 0; j < kWeights; ++j) {
        wide[j] = blocks[j].part(p);
      }
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) {
        const auto value = V::load(x[r] + i + p * V::kLanes);
#pragma GCC unroll 4
        for (int j = 0; j < kWeights; ++j) {
          acc[r][j] = V::fma(value, wide[j], acc[r][j]);
        }
      }
    }
  }
  for (int r = 0; r < kRows; ++r) {
    V::sums(acc[r], sums + ptrdiff_t{r} * kMaxDotWeights);
  }
  add_rest<V, D, kRows>(x, w, i, n, sums);
}

template <typename V, DType D>
void widen(const std::byte* w, int64_t n, float* y) {
  constexpr int64_t kBytes = dtype_bytes(D, kBlock);
  int64_t i = 0;
  for (; i + kBlock <= n; i += kBlock, w += kBytes) {
    const Weights<V, D> block(w);
    for (int p = 0; p < kParts<V>; ++p) {
      V::store(y + i + p * V::kLanes, block.part(p));
    }
  }
  for (; i < n; ++i, w += block_bytes(D)) {
    y[i] = Weights<V, D>::one(w);
  }
}

/// to_bf16 without branches, so that the compiler finds the vectors.
template <typename V>
void narrow(const float* x, int64_t n, BFloat16* y) {
  for (int64_t i = 0; i < n; ++i) {
    uint32_t bits = 0;
    __builtin_memcpy(&bits, x + i, sizeof(bits));
    const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    y[i].bits = static_cast<uint16_t>((bits & 0x7fffffffu) > 0x7f800000u ? 0xffffu : rounded);
  }
}

/// `kRows` rows of `mix`: y stays in registers while all v pass by.
template <typename V, DType D, int kRows>
void mix_rows(
    const float* const* a, const std::byte* const* v, int64_t count, int64_t n, float* const* y) {
  int64_t i = 0;
  int64_t at = 0;
  for (; i + kBlock <= n; i += kBlock, at += dtype_bytes(D, kBlock)) {
    typename V::Floats acc[kRows][kParts<V>];
    for (int r = 0; r < kRows; ++r) {
      for (int p = 0; p < kParts<V>; ++p) {
        acc[r][p] = V::load(y[r] + i + p * V::kLanes);
      }
    }
    for (int64_t s = 0; s < count; ++s) {
      const Weights<V, D> block(v[s] + at);
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) {
        const auto factor = V::set(a[r][s]);
#pragma GCC unroll 8
        for (int p = 0; p < kParts<V>; ++p) {
          acc[r][p] = V::fma(factor, block.part(p), acc[r][p]);
        }
      }
    }
    for (int r = 0; r < kRows; ++r) {
      for (int p = 0; p < kParts<V>; ++p) {
        V::store(y[r] + i + p * V::kLanes, acc[r][p]);
      }
    }
  }
  for (; i < n; ++i, at += block_bytes(D)) {
    for (int r = 0; r < kRows; ++r) {
      for (int64_t s = 0; s < count; ++s) {
        y[r][i] += a[r][s] * Weights<V, D>::one(v[s] + at);
      }
    }
  }
}

template <typename V, DType D>
void mix(const float* const* a,
         int rows,
         const std::byte* const* v,
         int64_t count,
         int64_t n,
         float* const* y) {
  constexpr int kRows = V::kMixRows;
  int r = 0;
  for (; r + kRows <= rows; r += kRows) {
    mix_rows<V, D, kRows>(a + r, v, count, n, y + r);
  }
  for (; r < rows; ++r) {
    mix_rows<V, D, 1>(a + r, v, count, n, y + r);
  }
}

template <typename V>
int64_t multiply_add(int64_t rounds) {
  constexpr int kChains = 12;  // more than the unit's latency times two
  typename V::Floats sums[kChains];
  for (auto& sum : sums) {
    sum = V::set(1.0f);
  }
  const auto factor = V::set(0.5f);
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 12
    for (int j = 0; j < kChains; ++j) {
      sums[j] = V::fma(sums[j], factor, factor);
    }
  }
  float kept[4];
  int64_t operations = 0;
  for (int j = 0; j < kChains; j += 4) {
    V::sums(sums + j, kept);
    // Never negative; a sum that is looked at is a sum that is computed.
    operations += kept[0] + kept[1] + kept[2] + kept[3] < 0.0f ? 0 : 4 * 2 * V::kLanes * rounds;
  }
  return operations;
}

template <typename V, DType D>
constexpr Simd::Loops loops_of() {
  return {{nullptr, dots_one<V, D>, dots<V, D, 2>, dots<V, D, 3>, dots<V, D, 4>},
          widen<V, D>,
          mix<V, D>};
}

}  // namespace

}  // namespace candela::cpu
