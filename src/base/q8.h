#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>

#include "base/bf16.h"

namespace candela {

/// 32 numbers as one Q8_16 block: for each half of them an F16 scale, the largest magnitude / 127,
/// then 32 signed bytes, each to nearest even.
inline void to_q8_16(const float* x, std::byte* block) {
  constexpr size_t kHalf = 16;
  for (size_t half = 0; half < 2; ++half, x += kHalf) {
    float largest = 0.0f;
    for (size_t i = 0; i < kHalf; ++i) {
      largest = std::max(largest, std::fabs(x[i]));
    }
    const Float16 scale = to_f16(std::min(largest / 127.0f, 65504.0f));
    std::memcpy(block + 2 * half, &scale.bits, sizeof(scale.bits));
    const float step = to_float(scale);
    std::byte* bytes = block + 4 + kHalf * half;
    for (size_t i = 0; i < kHalf; ++i) {
      const float q = step > 0.0f ? std::nearbyint(x[i] / step) : 0.0f;
      bytes[i] = static_cast<std::byte>(static_cast<int>(std::clamp(q, -127.0f, 127.0f)));
    }
  }
}

}  // namespace candela
