#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "models/config_reader.h"

namespace candela {
class GgufFile;
}

namespace candela::models {

/// Sizes and options of one decoder-only text model: Llama, Qwen3, Qwen3-MoE and the text stack of
/// the Qwen3-Omni thinker are settings of one block.
struct TextConfig {
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t layers = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  int64_t intermediate_size = 0;  ///< of dense layers
  int64_t max_positions = 0;
  float rms_norm_eps = 1e-6f;
  double rope_theta = 1e6;
  bool interleaved_rope = false;  ///< rows stored for pairs (2i, 2i + 1): Llama in GGUF
  bool qk_norm = false;
  bool attention_bias = false;
  bool tied_head = false;
  std::vector<int64_t> mrope_section;  ///< frequencies of time, height, width; empty: plain RoPE

  // Mixture of experts; `experts` 0 means that every layer is dense.
  int64_t experts = 0;
  int64_t experts_per_token = 0;
  int64_t moe_intermediate_size = 0;
  bool normalize_experts = true;
  int64_t sparse_step = 1;
  std::vector<int64_t> dense_layers;

  /// Whether this layer has experts. Source: Qwen3MoeDecoderLayer of transformers.
  bool is_sparse(int64_t layer) const;
  /// Parameters of the decoder with embedding and head, and those that one token uses.
  int64_t parameters() const;
  int64_t active_parameters() const;

  /// `moe`: whether the architecture has experts. Reads old (rope_theta, rope_scaling) and new
  /// (rope_parameters) keys. @throws CorruptData, Unsupported naming key and value
  static TextConfig from_json(const ConfigReader& reader, bool moe);
  /// From "llama.*" keys. @throws CorruptData, Unsupported
  static TextConfig from_gguf(const GgufFile& file);
};

}  // namespace candela::models
