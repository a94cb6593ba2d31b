#include "nn/attention.h"

#include <cmath>

namespace candela::nn {

Attention Attention::load(const Weights& weights, const Sizes& sizes) {
  const int64_t q_size = sizes.heads * sizes.head_dim;
  const int64_t kv_size = sizes.kv_heads * sizes.head_dim;
  Attention attention;
  const std::string names[] = {"q_proj", "k_proj", "v_proj"};
  const int64_t widths[] = {q_size, kv_size, kv_size};
  attention.qkv = LinearGroup::load(weights, names, sizes.hidden, widths, sizes.bias);
  attention.o = Linear::load(weights.pp("o_proj"), q_size, sizes.hidden, sizes.bias);
  if (sizes.qk_norm) {
    attention.q_norm = RmsNorm::load(weights.pp("q_norm"), sizes.head_dim, sizes.eps);
    attention.k_norm = RmsNorm::load(weights.pp("k_norm"), sizes.head_dim, sizes.eps);
  }
  attention.heads = sizes.heads;
  attention.kv_heads = sizes.kv_heads;
  attention.head_dim = sizes.head_dim;
  attention.interleaved_rope = sizes.interleaved_rope;
  return attention;
}

Tensor Attention::operator()(const Tensor& x,
                             const RmsNorm& norm,
                             const Step& step,
                             const Rotary& rotary,
                             const KvCache& cache,
                             int64_t layer,
                             const Trace& trace) const {
  if (trace.wants("ln1")) {
    trace("ln1", norm(x));
  }
  const std::vector<Tensor> projected = qkv(x, norm);
  const Tensor query = projected[0].reshape({step.tokens, heads, head_dim});
  const Tensor key = projected[1].reshape({step.tokens, kv_heads, head_dim});
  const Tensor value = projected[2];
  const auto rotate = [&](const Tensor& states, const std::optional<RmsNorm>& head_norm) {
    RopeOptions options;
    options.interleaved = interleaved_rope;
    if (head_norm) {
      options.norm_weight = head_norm->weight;
      options.norm_eps = head_norm->eps;
    }
    return rope(states, rotary.cos(), rotary.sin(), step.positions, options);
  };
  const Tensor q_rope = rotate(query, q_norm);
  const Tensor k_rope = rotate(key, k_norm);
  kv_write(cache.keys(layer), step.slots, k_rope);
  kv_write(cache.values(layer), step.slots, value.reshape({step.tokens, kv_heads, head_dim}));
  const float scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
  const Tensor context = paged_attention(q_rope, cache.keys(layer), cache.values(layer), step.spans,
                                         step.pages, scale, step.max_span)
                             .reshape({step.tokens, heads * head_dim});
  if (trace.wants("q_norm") && q_norm && k_norm) {
    trace("q_norm", (*q_norm)(query));
    trace("k_norm", (*k_norm)(key));
  }
  trace("q_rope", q_rope.transpose(0, 1));
  trace("k_rope", k_rope.transpose(0, 1));
  trace("v", value);
  trace("attn_ctx", context);
  if (trace.wants("attn")) {
    trace("attn", o(context));
  }
  return o(context, x);
}

}  // namespace candela::nn
