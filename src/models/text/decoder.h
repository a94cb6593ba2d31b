#pragma once

#include <variant>
#include <vector>

#include "models/text/config.h"
#include "nn/attention.h"
#include "nn/mlp.h"

namespace candela::models {

/// One decoder layer: norm, attention, norm, MLP or experts, each half added to the residual.
struct DecoderLayer {
  nn::RmsNorm input_norm, post_norm;
  nn::Attention attention;
  std::variant<nn::Mlp, nn::Moe> mlp;
};

/// Decoder-only transformer over a paged cache: Llama, Qwen3, Qwen3-MoE, the Qwen3-Omni thinker.
///
/// Source: transformers Qwen3OmniMoeThinkerTextModel, Qwen3MoeModel, LlamaModel.
class TextDecoder {
 public:
  /// `model` is the prefix of embed_tokens, layers and norm; `head` that of the output matrix,
  /// unused if the config ties it to the embedding.
  TextDecoder(const TextConfig& config, const Weights& model, const Weights& head);

  const TextConfig& config() const { return config_; }
  const Device& device() const { return device_; }
  nn::KvCache make_cache(DType dtype, int64_t max_positions) const;

  /// Logits F32 [n, vocab_size] of a packed step, whose pages the cache has reserved.
  Tensor run(const nn::Step& step, const nn::KvCache& cache, const nn::Trace& trace = {}) const;
  /// Makes sure that `run` may use positions below `count`. Returns how many there are now; the
  /// tables are new ones when the number has changed.
  int64_t reserve_positions(int64_t count);
  /// Runs the new tokens of the rows and advances their sequences. Returns logits F32
  /// [n, vocab_size] of the tokens that the rows ask for.
  Tensor forward(std::span<const nn::StepRow> rows,
                 nn::KvCache& cache,
                 const nn::Trace& trace = {});

 private:
  void load_layers(const Weights& model);
  void trace_positions(const nn::Trace& trace, const nn::Step& step) const;

  TextConfig config_;
  Device device_;
  Tensor embedding_;
  std::vector<DecoderLayer> layers_;
  nn::RmsNorm norm_;
  nn::Linear head_;
  nn::Rotary rotary_;
};

}  // namespace candela::models
