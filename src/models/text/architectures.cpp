#include "models/text/architectures.h"

#include <fmt/format.h>

#include <array>
#include <utility>

namespace candela::models {

namespace {

std::unique_ptr<Model> load_plain(const ModelFiles& files,
                                  const TextConfig& config,
                                  const Weights& weights) {
  if (config.tied_head) {
    weights.ignore("lm_head");  // some files repeat the embedding under this name
  }
  return std::make_unique<Model>(Model{
      files.architecture, TextDecoder(config, weights.pp("model"), weights.pp("lm_head")), {}});
}

/// Names in a GGUF file for our names below "model.layers.N.". Source: gguf-py, tensor_mapping.
constexpr std::array<std::pair<std::string_view, std::string_view>, 9> kGgufLayerNames{{
    {"input_layernorm", "attn_norm"},
    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},
    {"self_attn.v_proj", "attn_v"},
    {"self_attn.o_proj", "attn_output"},
    {"post_attention_layernorm", "ffn_norm"},
    {"mlp.gate_proj", "ffn_gate"},
    {"mlp.up_proj", "ffn_up"},
    {"mlp.down_proj", "ffn_down"},
}};
constexpr std::array<std::pair<std::string_view, std::string_view>, 3> kGgufNames{{
    {"model.embed_tokens", "token_embd"},
    {"model.norm", "output_norm"},
    {"lm_head", "output"},
}};

std::string gguf_name(std::string_view name) {
  for (const auto& [ours, theirs] : kGgufNames) {
    if (name.starts_with(ours)) {
      return std::string(theirs) + std::string(name.substr(ours.size()));
    }
  }
  constexpr std::string_view kLayers = "model.layers.";
  if (name.starts_with(kLayers)) {
    const size_t dot = name.find('.', kLayers.size());
    const std::string_view number = name.substr(kLayers.size(), dot - kLayers.size());
    const std::string_view rest = dot == std::string_view::npos ? "" : name.substr(dot + 1);
    for (const auto& [ours, theirs] : kGgufLayerNames) {
      if (rest.starts_with(ours)) {
        return fmt::format("blk.{}.{}{}", number, theirs, rest.substr(ours.size()));
      }
    }
  }
  return std::string(name);
}

}  // namespace

TextConfig qwen3_config(const ModelFiles& files) {
  TextConfig config = TextConfig::from_json(files.config_reader(), false);
  config.qk_norm = true;
  return config;
}

TextConfig qwen3_moe_config(const ModelFiles& files) {
  TextConfig config = TextConfig::from_json(files.config_reader(), true);
  config.qk_norm = true;
  return config;
}

TextConfig llama_config(const ModelFiles& files) {
  return TextConfig::from_json(files.config_reader(), false);
}

TextConfig gguf_llama_config(const ModelFiles& files) {
  return TextConfig::from_gguf(*files.gguf);
}

std::unique_ptr<Model> load_qwen3(const ModelFiles& files, const Weights& weights) {
  return load_plain(files, qwen3_config(files), weights);
}

std::unique_ptr<Model> load_qwen3_moe(const ModelFiles& files, const Weights& weights) {
  return load_plain(files, qwen3_moe_config(files), weights);
}

std::unique_ptr<Model> load_llama(const ModelFiles& files, const Weights& weights) {
  return load_plain(files, llama_config(files), weights);
}

std::unique_ptr<Model> load_gguf_llama(const ModelFiles& files, const Weights& weights) {
  return load_plain(files, gguf_llama_config(files), weights.with_renamer(gguf_name));
}

}  // namespace candela::models
