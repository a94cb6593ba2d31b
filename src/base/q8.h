#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>

#include "base/bf16.h"

namespace candela {

/// 32 numbers as one Q8_0 block: an F16 scale, the largest magnitude / 127, and 32 signed bytes,
/// each to nearest even.
inline void to_q8_0(const float* x, std::byte* block) {
  float largest = 0.0f;
  for (int i = 0; i < 32; ++i) {
    largest = std::max(largest, std::fabs(x[i]));
  }
  const Float16 scale = to_f16(std::min(largest / 127.0f, 65504.0f));
  std::memcpy(block, &scale.bits, sizeof(scale.bits));
  const float step = to_float(scale);
  for (int i = 0; i < 32; ++i) {
    const float q = step > 0.0f ? std::nearbyint(x[i] / step) : 0.0f;
    block[2 + i] = static_cast<std::byte>(static_cast<int>(std::clamp(q, -127.0f, 127.0f)));
  }
}

}  // namespace candela
