#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "nn/norm.h"
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
  /// The same of norm(x), which is never stored where few rows are multiplied.
  Tensor operator()(const Tensor& x, const RmsNorm& norm, bool sensitive = false) const {
    return norm_linear(x, norm.weight, norm.eps, weight, bias, sensitive);
  }
};

/// Matrices that multiply the same x, like query, key and value: one product where their types let
/// them be stacked, else one each.
struct LinearGroup {
  std::vector<Linear> products;
  std::vector<int64_t> widths;  ///< rows of each matrix
  bool sensitive = false;       ///< as in LinearArgs

  /// Reads "NAME.weight" and "NAME.bias" of each name below `weights`.
  static LinearGroup load(const Weights& weights,
                          std::span<const std::string> names,
                          int64_t in,
                          std::span<const int64_t> widths,
                          bool with_bias = false);
  /// x [tokens, in] F32. One result [tokens, width] for each matrix; where they are stacked these
  /// are columns of one tensor.
  std::vector<Tensor> operator()(const Tensor& x, const RmsNorm& norm) const;
};

}  // namespace candela::nn
