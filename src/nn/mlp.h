#pragma once

#include "nn/linear.h"
#include "nn/trace.h"

namespace candela::nn {

/// x + down(silu(gate n) * up n), n = norm(x).
struct Mlp {
  LinearGroup gate_up;
  Linear down;

  static Mlp load(const Weights& weights, int64_t hidden, int64_t inner);
  /// x and result [tokens, hidden], F32.
  Tensor operator()(const Tensor& x, const RmsNorm& norm, const Trace& trace) const;
};

/// x + a sparse mixture of experts of norm(x): softmax router, weighted sum of the best k experts.
struct Moe {
  Linear router;          ///< [experts, hidden]
  Tensor gate, up, down;  ///< [experts, inner, hidden], down [experts, hidden, inner]
  int64_t experts_per_token = 0;
  bool normalize = true;  ///< norm_topk_prob: the k weights sum to 1

  struct Sizes {
    int64_t hidden = 0, inner = 0, experts = 0, experts_per_token = 0;
    bool normalize = true;
  };
  /// Reads "gate" (the router) and "experts.N.{gate,up,down}_proj", stacked without a copy.
  static Moe load(const Weights& weights, const Sizes& sizes);
  Tensor operator()(const Tensor& x, const RmsNorm& norm, const Trace& trace) const;

 private:
  void record(const Tensor& x, const RmsNorm& norm, const Trace& trace) const;
};

}  // namespace candela::nn
