#pragma once

#include <cmath>

/// Functions that backend/elementwise.def names besides those of <cmath>. The kernels of the GPU
/// clamp their arguments alike.
namespace candela::cpu {

inline float sigmoid_safe(float x) {
  return 1.0f / (1.0f + std::exp(-std::fmax(x, -87.0f)));
}

inline float silu(float x) {
  return x * sigmoid_safe(x);
}

/// GELU with the tanh approximation; sqrt(2 / pi) = 0.79788456.
inline float gelu_tanh(float x) {
  return 0.5f * x * (1.0f + std::tanh(0.79788456f * (x + 0.044715f * x * x * x)));
}

}  // namespace candela::cpu
