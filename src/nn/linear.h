#pragma once

#include <optional>

#include "tensor/ops.h"
#include "weights/weights.h"

namespace candela::nn {

/// y = x W^T (+ bias) (+ residual). The weight stays as the file has it: BF16, F16, F32 or blocks.
struct Linear {
  Tensor weight;               ///< [out, in]
  std::optional<Tensor> bias;  ///< [out]

  /// Reads "weight" and, if asked for, "bias" below `weights`.
  static Linear load(const Weights& weights, int64_t in, int64_t out, bool with_bias = false) {
    Linear linear{weights.get("weight", {out, in}), std::nullopt};
    if (with_bias) {
      linear.bias = weights.get("bias", {out});
    }
    return linear;
  }

  /// x [..., in] F32, residual [..., out] F32.
  Tensor operator()(const Tensor& x, const std::optional<Tensor>& residual = std::nullopt) const {
    return linear(x, weight, bias, residual);
  }
};

}  // namespace candela::nn
