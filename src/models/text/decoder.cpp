#include "models/text/decoder.h"

#include "base/error.h"

namespace candela::models {

TextDecoder::TextDecoder(const TextConfig& config, const Weights& model, const Weights& head)
    : config_(config),
      device_(model.device()),
      rotary_(config.head_dim, config.rope_theta, model.device()) {
  const Shape table{config.vocab_size, config.hidden_size};
  embedding_ = model.pp("embed_tokens").get("weight", table);
  load_layers(model.pp("layers"));
  norm_ = nn::RmsNorm::load(model.pp("norm"), config.hidden_size, config.rms_norm_eps);
  head_ = config.tied_head ? nn::Linear{embedding_, std::nullopt}
                           : nn::Linear::load(head, config.hidden_size, config.vocab_size);
}

void TextDecoder::load_layers(const Weights& model) {
  const nn::Attention::Sizes attention{
      .hidden = config_.hidden_size,
      .heads = config_.heads,
      .kv_heads = config_.kv_heads,
      .head_dim = config_.head_dim,
      .bias = config_.attention_bias,
      .qk_norm = config_.qk_norm,
      .eps = config_.rms_norm_eps,
      .interleaved_rope = config_.interleaved_rope,
  };
  const nn::Moe::Sizes experts{
      .hidden = config_.hidden_size,
      .inner = config_.moe_intermediate_size,
      .experts = config_.experts,
      .experts_per_token = config_.experts_per_token,
      .normalize = config_.normalize_experts,
  };
  for (int64_t i = 0; i < config_.layers; ++i) {
    const Weights weights = model.pp(i);
    const auto norm = [&](const char* name) {
      return nn::RmsNorm::load(weights.pp(name), config_.hidden_size, config_.rms_norm_eps);
    };
    DecoderLayer layer;
    layer.input_norm = norm("input_layernorm");
    layer.attention = nn::Attention::load(weights.pp("self_attn"), attention);
    layer.post_norm = norm("post_attention_layernorm");
    if (config_.is_sparse(i)) {
      layer.mlp = nn::Moe::load(weights.pp("mlp"), experts);
    } else {
      layer.mlp = nn::Mlp::load(weights.pp("mlp"), config_.hidden_size, config_.intermediate_size);
    }
    layers_.push_back(std::move(layer));
  }
}

nn::KvCache TextDecoder::make_cache(DType dtype, int64_t max_positions) const {
  return nn::KvCache({.layers = config_.layers,
                      .kv_heads = config_.kv_heads,
                      .head_dim = config_.head_dim,
                      .dtype = dtype,
                      .max_positions = max_positions},
                     device_);
}

void TextDecoder::trace_positions(const nn::Trace& trace, const nn::Step& step) const {
  const auto expanded = [&](const Tensor& table) {
    const Tensor half = embedding(table, step.positions);
    const Tensor both[] = {half, half};  // the reference keeps both halves
    return cat(both, -1);
  };
  trace("input_ids", step.ids);
  if (trace.wants("rope_cos")) {
    trace("rope_cos", expanded(rotary_.cos()));
    trace("rope_sin", expanded(rotary_.sin()));
  }
}

int64_t TextDecoder::reserve_positions(int64_t count) {
  rotary_.reserve(count);
  return rotary_.count();
}

Tensor TextDecoder::run(const nn::Step& step,
                        const nn::KvCache& cache,
                        const nn::Trace& trace) const {
  trace_positions(trace, step);
  Tensor x = embedding(embedding_, step.ids);
  trace("embeds", x);
  for (int64_t i = 0; i < config_.layers; ++i) {
    const DecoderLayer& layer = layers_[static_cast<size_t>(i)];
    const nn::Trace here = trace.at(fmt::format("L{}.", i));
    x = layer.attention(x, layer.input_norm, step, rotary_, cache, i, here);
    x = std::visit([&](const auto& mlp) { return mlp(x, layer.post_norm, here); }, layer.mlp);
    here("out", x);
  }
  // Only rows whose logits are wanted go through the head, by far the largest matrix.
  const Tensor last = step.every_row ? x : index_select(x, 0, step.logit_rows);
  if (trace.wants("final_norm")) {
    trace("final_norm", norm_(last));
  }
  const Tensor logits = head_(last, norm_);
  trace("logits", logits);
  return logits;
}

Tensor TextDecoder::forward(std::span<const nn::StepRow> rows,
                            nn::KvCache& cache,
                            const nn::Trace& trace) {
  const nn::Step step = nn::Step::pack(rows, cache, device_);
  reserve_positions(step.max_span);
  Tensor logits = run(step, cache, trace);
  for (const nn::StepRow& row : rows) {
    row.sequence->length += static_cast<int64_t>(row.ids.size());
  }
  return logits;
}

}  // namespace candela::models
