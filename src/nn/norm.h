#pragma once

#include "tensor/ops.h"
#include "weights/weights.h"

namespace candela::nn {

/// x / sqrt(mean(x^2) + eps) * weight over the last axis, statistics in F32.
struct RmsNorm {
  Tensor weight;  ///< [size]
  float eps = 1e-6f;

  static RmsNorm load(const Weights& weights, int64_t size, float eps) {
    return {weights.get("weight", {size}), eps};
  }
  Tensor operator()(const Tensor& x) const { return rms_norm(x, weight, eps); }
};

}  // namespace candela::nn
