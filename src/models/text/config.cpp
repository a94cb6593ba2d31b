#include "models/text/config.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "weights/gguf.h"

namespace candela::models {

namespace {

// Small enough that no count of parameters overflows, and far above any model that exists.
constexpr int64_t kMaxVocab = int64_t{1} << 24;
constexpr int64_t kMaxSize = int64_t{1} << 20;
constexpr int64_t kMaxLayers = 1024;

void check_shape(const TextConfig& config, const ConfigReader& reader) {
  if (config.heads % config.kv_heads != 0) {
    reader.reject(
        fmt::format("has {} attention heads for {} key/value heads, which do not divide them",
                    config.heads, config.kv_heads));
  }
  if (config.head_dim % 2 != 0) {
    reader.reject(
        fmt::format("has \"head_dim\": {}, rotary embedding needs an even size", config.head_dim));
  }
  bool any_dense = false;
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    any_dense = any_dense || !config.is_sparse(layer);
  }
  if (any_dense && config.intermediate_size == 0) {
    reader.reject("has dense layers and lacks the key \"intermediate_size\"");
  }
  const int64_t sections =
      std::accumulate(config.mrope_section.begin(), config.mrope_section.end(), int64_t{0});
  if (!config.mrope_section.empty() &&
      (config.mrope_section.size() != 3 || sections != config.head_dim / 2)) {
    reader.reject(
        fmt::format("has \"mrope_section\" with {} parts and sum {}, three with sum {} are "
                    "expected",
                    config.mrope_section.size(), sections, config.head_dim / 2));
  }
}

void read_rope(TextConfig& config, const ConfigReader& reader) {
  const bool modern = reader.has("rope_parameters");
  const char* key = modern ? "rope_parameters" : "rope_scaling";
  config.rope_theta = reader.number_or("rope_theta", 10000.0, 1.0, 1e12);
  if (!reader.has(key)) {
    return;
  }
  const ConfigReader rope = reader.child(key);
  config.rope_theta = rope.number_or("rope_theta", config.rope_theta, 1.0, 1e12);
  const std::string type = rope.text_or("rope_type", rope.text_or("type", "default"));
  if (type != "default" && type != "mrope") {
    fail(ErrorKind::Unsupported, Subject::Model,
         "{} asks for rope type \"{}\"; candela has only \"default\".", rope.where(), type);
  }
  if (rope.has("mrope_section")) {
    config.mrope_section = rope.integers("mrope_section", 0, 4096);
    if (!rope.boolean_or("mrope_interleaved", rope.boolean_or("interleaved", false))) {
      fail(ErrorKind::Unsupported, Subject::Model,
           "{} asks for sectioned M-RoPE; candela has only the interleaved form.", rope.where());
    }
  }
}

void read_experts(TextConfig& config, const ConfigReader& reader) {
  config.experts = reader.integer("num_experts", 1, 1024);
  config.experts_per_token = reader.integer("num_experts_per_tok", 1, 64);
  if (config.experts_per_token > config.experts) {
    reader.reject(fmt::format("uses {} of {} experts", config.experts_per_token, config.experts));
  }
  config.moe_intermediate_size = reader.integer("moe_intermediate_size", 1, kMaxSize);
  // The key is absent only in files that were saved while its class default, false, was meant.
  config.normalize_experts = reader.boolean_or("norm_topk_prob", false);
  config.sparse_step = reader.integer_or("decoder_sparse_step", 1, 1, 1 << 20);
  if (reader.has("mlp_only_layers")) {
    config.dense_layers = reader.integers("mlp_only_layers", 0, config.layers - 1);
  }
}

}  // namespace

bool TextConfig::is_sparse(int64_t layer) const {
  return experts > 0 && (layer + 1) % sparse_step == 0 &&
         std::ranges::find(dense_layers, layer) == dense_layers.end();
}

namespace {

/// `tables`: how many of the vocabulary-sized matrices count.
int64_t count_parameters(const TextConfig& config, int64_t experts_counted, int64_t tables) {
  const int64_t q = config.heads * config.head_dim;
  const int64_t kv = config.kv_heads * config.head_dim;
  int64_t total = config.vocab_size * config.hidden_size * tables + config.hidden_size;
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    total += config.hidden_size * (2 * q + 2 * kv + 2);
    total += config.qk_norm ? 2 * config.head_dim : 0;
    total += config.attention_bias ? q + 2 * kv + config.hidden_size : 0;
    total += config.is_sparse(layer)
                 ? config.experts * config.hidden_size +
                       experts_counted * 3 * config.hidden_size * config.moe_intermediate_size
                 : 3 * config.hidden_size * config.intermediate_size;
  }
  return total;
}

}  // namespace

int64_t TextConfig::parameters() const {
  return count_parameters(*this, experts, tied_head ? 1 : 2);
}

int64_t TextConfig::active_parameters() const {
  return count_parameters(*this, experts_per_token, 1);  // the head, and one row of the embedding
}

TextConfig TextConfig::from_json(const ConfigReader& reader, bool moe) {
  TextConfig config;
  config.vocab_size = reader.integer("vocab_size", 1, kMaxVocab);
  config.hidden_size = reader.integer("hidden_size", 1, kMaxSize);
  config.layers = reader.integer("num_hidden_layers", 1, kMaxLayers);
  config.heads = reader.integer("num_attention_heads", 1, 4096);
  config.kv_heads = reader.integer_or("num_key_value_heads", config.heads, 1, 4096);
  if (!reader.has("head_dim") && config.hidden_size % config.heads != 0) {
    reader.reject(fmt::format("has no \"head_dim\" and {} heads do not divide the hidden size {}",
                              config.heads, config.hidden_size));
  }
  config.head_dim = reader.integer_or("head_dim", config.hidden_size / config.heads, 2, 1024);
  config.intermediate_size = reader.integer_or("intermediate_size", 0, 0, kMaxSize);
  config.max_positions = reader.integer("max_position_embeddings", 1, int64_t{1} << 31);
  config.rms_norm_eps = static_cast<float>(reader.number("rms_norm_eps", 0.0, 1.0));
  config.attention_bias = reader.boolean_or("attention_bias", false);
  config.tied_head = reader.boolean_or("tie_word_embeddings", false);
  read_rope(config, reader);
  if (moe) {
    read_experts(config, reader);
  }
  check_shape(config, reader);
  const std::string activation = reader.text_or("hidden_act", "silu");
  if (activation != "silu") {
    fail(ErrorKind::Unsupported, Subject::Model,
         "{} asks for activation \"{}\"; candela has \"silu\".", reader.where(), activation);
  }
  if (reader.boolean_or("use_sliding_window", false)) {
    fail(ErrorKind::Unsupported, Subject::Model,
         "{} asks for a sliding window, which candela's text decoder does not have.",
         reader.where());
  }
  return config;
}

TextConfig TextConfig::from_gguf(const GgufFile& file) {
  const GgufMetadata& metadata = file.metadata();
  const std::string_view architecture = metadata.get_string("general.architecture");
  if (architecture != "llama") {
    fail(ErrorKind::Unsupported, Subject::Model,
         "{} holds architecture \"{}\"; of GGUF candela reads \"llama\".", file.path(),
         architecture);
  }
  const auto size = [&](const char* key, int64_t high = kMaxSize) {
    const uint64_t value = metadata.get_u64("llama." + std::string(key));
    if (value == 0 || value > static_cast<uint64_t>(high)) {
      fail(ErrorKind::CorruptData, Subject::Model, "{} has llama.{} = {}, which is out of range.",
           file.path(), key, value);
    }
    return static_cast<int64_t>(value);
  };
  const auto has = [&](const char* key) { return metadata.contains("llama." + std::string(key)); };
  TextConfig config;
  config.hidden_size = size("embedding_length");
  config.layers = size("block_count", kMaxLayers);
  config.heads = size("attention.head_count");
  config.kv_heads = has("attention.head_count_kv") ? size("attention.head_count_kv") : config.heads;
  config.intermediate_size = size("feed_forward_length");
  config.max_positions = size("context_length", int64_t{1} << 31);
  config.head_dim = has("rope.dimension_count") ? size("rope.dimension_count")
                                                : config.hidden_size / config.heads;
  if (config.heads % config.kv_heads != 0 || config.head_dim * config.heads != config.hidden_size ||
      config.head_dim % 2 != 0) {
    fail(ErrorKind::CorruptData, Subject::Model,
         "{} has {} heads, {} key/value heads and {} rotated dimensions for width {}, which do not "
         "fit together.",
         file.path(), config.heads, config.kv_heads, config.head_dim, config.hidden_size);
  }
  const auto number = [&](const char* key, double low, double high) {
    const double value = metadata.get_f64("llama." + std::string(key));
    if (!(value >= low && value <= high)) {
      fail(ErrorKind::CorruptData, Subject::Model, "{} has llama.{} = {}, which is out of range.",
           file.path(), key, value);
    }
    return value;
  };
  config.rms_norm_eps = static_cast<float>(number("attention.layer_norm_rms_epsilon", 0.0, 1.0));
  config.rope_theta = has("rope.freq_base") ? number("rope.freq_base", 1.0, 1e12) : 10000.0;
  if (has("rope.scaling.type") && metadata.get_string("llama.rope.scaling.type") != "none") {
    fail(ErrorKind::Unsupported, Subject::Model, "{} asks for rope scaling \"{}\".", file.path(),
         metadata.get_string("llama.rope.scaling.type"));
  }
  if (has("expert_count") && metadata.get_u64("llama.expert_count") > 0) {
    fail(ErrorKind::Unsupported, Subject::Model, "{} is a mixture of experts in GGUF.",
         file.path());
  }
  const WeightInfo* embedding = file.find("token_embd.weight");
  if (embedding == nullptr || embedding->shape.rank() != 2) {
    fail(ErrorKind::CorruptData, Subject::Model, "{} has no matrix token_embd.weight.",
         file.path());
  }
  config.vocab_size = embedding->shape[0];
  config.tied_head = file.find("output.weight") == nullptr;
  config.interleaved_rope = true;
  return config;
}

}  // namespace candela::models
