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
  attention.qkv.sensitive = true;
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
  const Tensor& value = projected[2];
  RopeAttentionOptions options;
  options.interleaved = interleaved_rope;
  options.lone = step.lone;
  options.recent = cache.recent(layer);
  if (options.recent) {
    options.recent->slots = step.recent_slots;
  }
  if (q_norm && k_norm) {
    options.q_norm = q_norm->weight;
    options.k_norm = k_norm->weight;
    options.norm_eps = q_norm->eps;
  }
  const auto attend = [&] {
    const float scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
    return rope_attention(query, key, value.reshape({step.tokens, kv_heads, head_dim}),
                          rotary.cos(), rotary.sin(), step.positions, step.slots, cache.keys(layer),
                          cache.values(layer), step.spans, step.pages, scale, step.max_span,
                          options);
  };
  // What the op above makes on its way.
  const auto trace_heads = [&](std::pair<const char*, const char*> names, const Tensor& states,
                               const std::optional<RmsNorm>& head_norm) {
    if (head_norm && trace.wants(names.first)) {
      trace(names.first, (*head_norm)(states));
    }
    if (trace.wants(names.second)) {
      RopeOptions rotation{interleaved_rope, {}, 0.0f};
      if (head_norm) {
        rotation.norm_weight = head_norm->weight;
        rotation.norm_eps = head_norm->eps;
      }
      const Tensor roped = rope(states, rotary.cos(), rotary.sin(), step.positions, rotation);
      trace(names.second, roped.transpose(0, 1));
    }
  };
  trace_heads({"q_norm", "q_rope"}, query, q_norm);
  trace_heads({"k_norm", "k_rope"}, key, k_norm);
  trace("v", value);
  if (trace.wants("attn_ctx") || trace.wants("attn")) {
    const Tensor context = attend().reshape({step.tokens, heads * head_dim});
    trace("attn_ctx", context);
    if (trace.wants("attn")) {
      trace("attn", o(context));
    }
    return o(context, x);
  }
  options.output = {o.weight, o.bias, x};
  return attend();
}

}  // namespace candela::nn
