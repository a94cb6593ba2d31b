#pragma once

#include <optional>

#include "nn/kv_cache.h"
#include "nn/linear.h"
#include "nn/norm.h"
#include "nn/rotary.h"
#include "nn/step.h"
#include "nn/trace.h"

namespace candela::nn {

/// Causal self-attention with grouped key/value heads, rotary positions, optional per-head RMSNorm
/// of queries and keys, over a paged cache.
struct Attention {
  LinearGroup qkv;
  Linear o;
  std::optional<RmsNorm> q_norm, k_norm;
  int64_t heads = 0, kv_heads = 0, head_dim = 0;
  bool interleaved_rope = false;  ///< rotate pairs (2i, 2i + 1), as GGUF stores Llama's rows

  struct Sizes {
    int64_t hidden = 0, heads = 0, kv_heads = 0, head_dim = 0;
    bool bias = false;  ///< q, k, v with bias
    bool qk_norm = false;
    float eps = 1e-6f;
    bool interleaved_rope = false;
  };
  static Attention load(const Weights& weights, const Sizes& sizes);

  /// x + attention(norm(x)); x [tokens, hidden], F32. Writes the new keys and values into the
  /// cache's `layer`.
  Tensor operator()(const Tensor& x,
                    const RmsNorm& norm,
                    const Step& step,
                    const Rotary& rotary,
                    const KvCache& cache,
                    int64_t layer,
                    const Trace& trace) const;
};

}  // namespace candela::nn
