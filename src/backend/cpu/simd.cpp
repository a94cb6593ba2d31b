#include "backend/cpu/simd.h"

#include <cstring>
#include <vector>

#include "base/bf16.h"

namespace candela::cpu {

namespace {

constexpr int64_t kBlock = 32;
// Partial sums of the portable loops: the compiler keeps them in whatever vectors there are.
constexpr int64_t kLanes = 8;

uint16_t load_u16(const std::byte* from) {
  uint16_t value = 0;
  std::memcpy(&value, from, sizeof(value));
  return value;
}

struct LoadF32 {
  static constexpr int64_t kStep = 1;
  static void load(const std::byte* w, int64_t i, float* y) {
    std::memcpy(y, w + i * 4, sizeof(float));
  }
};

struct LoadF16 {
  static constexpr int64_t kStep = 1;
  static void load(const std::byte* w, int64_t i, float* y) {
    *y = to_float(Float16{load_u16(w + i * 2)});
  }
};

struct LoadBf16 {
  static constexpr int64_t kStep = 1;
  static void load(const std::byte* w, int64_t i, float* y) {
    *y = to_float(BFloat16{load_u16(w + i * 2)});
  }
};

struct LoadQ8 {
  static constexpr int64_t kStep = kBlock;
  static void load(const std::byte* w, int64_t i, float* y) {
    const std::byte* block = w + i / kBlock * block_bytes(DType::Q8_0);
    const float d = to_float(Float16{load_u16(block)});
    for (int64_t j = 0; j < kBlock; ++j) {
      y[j] = d * static_cast<float>(static_cast<int8_t>(block[2 + j]));
    }
  }
};

struct LoadQ4 {
  static constexpr int64_t kStep = kBlock;
  static void load(const std::byte* w, int64_t i, float* y) {
    const std::byte* block = w + i / kBlock * block_bytes(DType::Q4_0);
    const float d = to_float(Float16{load_u16(block)});
    for (int64_t j = 0; j < kBlock / 2; ++j) {
      const auto both = static_cast<uint8_t>(block[2 + j]);
      y[j] = d * static_cast<float>((both & 15) - 8);
      y[j + kBlock / 2] = d * static_cast<float>((both >> 4) - 8);
    }
  }
};

struct LoadQ41 {
  static constexpr int64_t kStep = kBlock;
  static void load(const std::byte* w, int64_t i, float* y) {
    const std::byte* block = w + i / kBlock * block_bytes(DType::Q4_1);
    const float d = to_float(Float16{load_u16(block)});
    const float m = to_float(Float16{load_u16(block + 2)});
    for (int64_t j = 0; j < kBlock / 2; ++j) {
      const auto both = static_cast<uint8_t>(block[4 + j]);
      y[j] = d * static_cast<float>(both & 15) + m;
      y[j + kBlock / 2] = d * static_cast<float>(both >> 4) + m;
    }
  }
};

template <typename Load>
void widen(const std::byte* w, int64_t n, float* y) {
  for (int64_t i = 0; i < n; i += Load::kStep) {
    Load::load(w, i, y + i);
  }
}

template <typename Load>
float dot(const float* x, const std::byte* w, int64_t n) {
  float sums[kLanes] = {};
  float piece[kBlock];
  for (int64_t i = 0; i < n; i += kBlock) {
    const int64_t count = n - i < kBlock ? n - i : kBlock;
    for (int64_t j = 0; j < count; j += Load::kStep) {
      Load::load(w, i + j, piece + j);
    }
    for (int64_t j = 0; j < count; ++j) {
      sums[j % kLanes] += x[i + j] * piece[j];
    }
  }
  return ((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7]));
}

template <typename Load>
void axpy(float a, const std::byte* x, int64_t n, float* y) {
  float piece[kBlock];
  for (int64_t i = 0; i < n; i += kBlock) {
    const int64_t count = n - i < kBlock ? n - i : kBlock;
    for (int64_t j = 0; j < count; j += Load::kStep) {
      Load::load(x, i + j, piece + j);
    }
    for (int64_t j = 0; j < count; ++j) {
      y[i + j] += a * piece[j];
    }
  }
}

void tile(const float* const* x, const float* w, int64_t w_stride, int64_t n, float* sums) {
  for (int i = 0; i < kTileX; ++i) {
    for (int j = 0; j < kTileW; ++j) {
      sums[i * kTileW + j] =
          dot<LoadF32>(x[i], reinterpret_cast<const std::byte*>(w + j * w_stride), n);
    }
  }
}

}  // namespace

const Simd& simd_portable() {
  static constexpr Simd kTable = {
      "portable",
      {dot<LoadF32>, dot<LoadF16>, dot<LoadBf16>, nullptr, nullptr, nullptr, nullptr, dot<LoadQ8>,
       dot<LoadQ4>, dot<LoadQ41>},
      {widen<LoadF32>, widen<LoadF16>, widen<LoadBf16>, nullptr, nullptr, nullptr, nullptr,
       widen<LoadQ8>, widen<LoadQ4>, widen<LoadQ41>},
      {axpy<LoadF32>, axpy<LoadF16>, axpy<LoadBf16>, nullptr, nullptr, nullptr, nullptr,
       axpy<LoadQ8>, axpy<LoadQ4>, axpy<LoadQ41>},
      tile};
  return kTable;
}

std::span<const Simd* const> simd_variants() {
  static const std::vector<const Simd*> kAll = [] {
    std::vector<const Simd*> all = {&simd_portable()};
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
        __builtin_cpu_supports("f16c")) {
      all.push_back(&simd_avx2());
      if (__builtin_cpu_supports("avx512f")) {
        all.push_back(&simd_avx512());
      }
    }
#endif
    return all;
  }();
  return kAll;
}

const Simd& simd() {
  static const Simd& best = *simd_variants().back();
  return best;
}

}  // namespace candela::cpu
