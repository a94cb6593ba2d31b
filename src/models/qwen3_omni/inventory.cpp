#include "models/qwen3_omni/inventory.h"

#include <fmt/format.h>

#include "base/error.h"
#include "models/qwen3_omni/thinker.h"

namespace candela::models {

namespace {

constexpr int64_t kMax = int64_t{1} << 20;
constexpr int64_t kMaxLayers = 1024;
// The released model has 18,867 in its largest part. More than this is a config that would have us
// make names until memory is full.
constexpr size_t kMostTensors = size_t{1} << 18;

/// Collects the tensors of one part under a prefix.
class Builder {
 public:
  Builder(std::string name, std::string prefix, bool required = false) {
    part_.name = std::move(name);
    part_.prefix = std::move(prefix);
    part_.required = required;
  }

  void add(const std::string& name, const Shape& shape) {
    if (part_.tensors.size() == kMostTensors) {
      fail(ErrorKind::CorruptData, Subject::Model,
           "The config gives the {} more than {} tensors, which no such model has.", part_.name,
           kMostTensors);
    }
    part_.tensors.push_back({part_.prefix + name, shape});
  }
  void weight(const std::string& name, const Shape& shape) { add(name + ".weight", shape); }
  /// "name.weight" and "name.bias" [first size of the weight].
  void biased(const std::string& name, const Shape& shape) {
    weight(name, shape);
    add(name + ".bias", {shape[0]});
  }
  void norm(const std::string& name, int64_t size) { weight(name, {size}); }
  void biased_norm(const std::string& name, int64_t size) { biased(name, {size}); }

  Part take() { return std::move(part_); }

 private:
  Part part_;
};

struct AttentionSizes {
  int64_t hidden, heads, kv_heads, head_dim;
};

void add_attention(Builder& part, const std::string& layer, const AttentionSizes& s, bool qk_norm) {
  const std::string attention = layer + "self_attn.";
  part.weight(attention + "q_proj", {s.heads * s.head_dim, s.hidden});
  part.weight(attention + "k_proj", {s.kv_heads * s.head_dim, s.hidden});
  part.weight(attention + "v_proj", {s.kv_heads * s.head_dim, s.hidden});
  part.weight(attention + "o_proj", {s.hidden, s.heads * s.head_dim});
  if (qk_norm) {
    part.norm(attention + "q_norm", s.head_dim);
    part.norm(attention + "k_norm", s.head_dim);
  }
  part.norm(layer + "input_layernorm", s.hidden);
  part.norm(layer + "post_attention_layernorm", s.hidden);
}

void add_gated_mlp(Builder& part, const std::string& mlp, int64_t hidden, int64_t inner) {
  part.weight(mlp + "gate_proj", {inner, hidden});
  part.weight(mlp + "up_proj", {inner, hidden});
  part.weight(mlp + "down_proj", {hidden, inner});
}

/// Decoder layers of a TextConfig: the thinker's and, with `shared` > 0, the talker's.
void add_text_layers(Builder& part, const TextConfig& config, int64_t shared) {
  for (int64_t i = 0; i < config.layers; ++i) {
    const std::string layer = fmt::format("model.layers.{}.", i);
    add_attention(part, layer, {config.hidden_size, config.heads, config.kv_heads, config.head_dim},
                  true);
    if (!config.is_sparse(i)) {
      add_gated_mlp(part, layer + "mlp.", config.hidden_size, config.intermediate_size);
      continue;
    }
    part.weight(layer + "mlp.gate", {config.experts, config.hidden_size});
    for (int64_t e = 0; e < config.experts; ++e) {
      add_gated_mlp(part, fmt::format("{}mlp.experts.{}.", layer, e), config.hidden_size,
                    config.moe_intermediate_size);
    }
    if (shared > 0) {
      add_gated_mlp(part, layer + "mlp.shared_expert.", config.hidden_size, shared);
      part.weight(layer + "mlp.shared_expert_gate", {1, config.hidden_size});
    }
  }
  part.norm("model.norm", config.hidden_size);
}

Part text_part(const ModelFiles& files) {
  const TextConfig config = thinker_text_config(files);
  Builder part("text decoder", "thinker.", true);
  part.weight("model.embed_tokens", {config.vocab_size, config.hidden_size});
  add_text_layers(part, config, 0);
  if (!config.tied_head) {
    part.weight("lm_head", {config.vocab_size, config.hidden_size});
  }
  return part.take();
}

Part audio_part(const ConfigReader& config) {
  const int64_t width = config.integer("d_model", 1, kMax);
  const int64_t inner = config.integer("encoder_ffn_dim", 1, kMax);
  const int64_t channels = config.integer("downsample_hidden_size", 1, kMax);
  const int64_t mels = config.integer("num_mel_bins", 1, 4096);
  const int64_t rows = (((mels + 1) / 2 + 1) / 2 + 1) / 2;  // three convolutions of stride 2
  Builder part("audio tower", "thinker.audio_tower.");
  part.biased("conv2d1", {channels, 1, 3, 3});
  part.biased("conv2d2", {channels, channels, 3, 3});
  part.biased("conv2d3", {channels, channels, 3, 3});
  part.weight("conv_out", {width, channels * rows});
  for (int64_t i = 0; i < config.integer("encoder_layers", 1, kMaxLayers); ++i) {
    const std::string layer = fmt::format("layers.{}.", i);
    for (const char* name : {"q_proj", "k_proj", "v_proj", "out_proj"}) {
      part.biased(layer + "self_attn." + name, {width, width});
    }
    part.biased_norm(layer + "self_attn_layer_norm", width);
    part.biased_norm(layer + "final_layer_norm", width);
    part.biased(layer + "fc1", {inner, width});
    part.biased(layer + "fc2", {width, inner});
  }
  part.biased_norm("ln_post", width);
  part.biased("proj1", {width, width});
  part.biased("proj2", {config.integer("output_dim", 1, kMax), width});
  return part.take();
}

Part vision_part(const ConfigReader& config) {
  const int64_t width = config.integer("hidden_size", 1, kMax);
  const int64_t inner = config.integer("intermediate_size", 1, kMax);
  const int64_t patch = config.integer("patch_size", 1, 1024);
  const int64_t merge = config.integer("spatial_merge_size", 1, 16);
  const int64_t out = config.integer("out_hidden_size", 1, kMax);
  const int64_t joined = width * merge * merge;
  Builder part("vision tower", "thinker.visual.");
  part.biased("patch_embed.proj", {width, config.integer("in_channels", 1, 64),
                                   config.integer("temporal_patch_size", 1, 64), patch, patch});
  part.weight("pos_embed", {config.integer("num_position_embeddings", 1, kMax), width});
  for (int64_t i = 0; i < config.integer("depth", 1, kMaxLayers); ++i) {
    const std::string block = fmt::format("blocks.{}.", i);
    part.biased_norm(block + "norm1", width);
    part.biased_norm(block + "norm2", width);
    part.biased(block + "attn.qkv", {3 * width, width});
    part.biased(block + "attn.proj", {width, width});
    part.biased(block + "mlp.linear_fc1", {inner, width});
    part.biased(block + "mlp.linear_fc2", {width, inner});
  }
  const auto merger = [&](const std::string& name, int64_t norm) {
    part.biased_norm(name + ".ln_q", norm);
    part.biased(name + ".mlp.0", {joined, joined});
    part.biased(name + ".mlp.2", {out, joined});
  };
  merger("merger", width);
  const size_t deepstack = config.integers("deepstack_visual_indexes", 0, 4096).size();
  for (size_t k = 0; k < deepstack; ++k) {
    merger(fmt::format("merger_list.{}", k), joined);
  }
  return part.take();
}

Part talker_part(const ConfigReader& talker) {
  const ConfigReader text = talker.child("text_config");
  const TextConfig config = TextConfig::from_json(text, true);
  Builder part("talker", "talker.");
  part.weight("model.codec_embedding", {config.vocab_size, config.hidden_size});
  add_text_layers(part, config, text.integer("shared_expert_intermediate_size", 1, kMax));
  part.weight("codec_head", {config.vocab_size, config.hidden_size});
  const int64_t thinker = talker.integer("thinker_hidden_size", 1, kMax);
  for (const char* name : {"text_projection", "hidden_projection"}) {
    const std::string projection = name;
    part.biased(projection + ".linear_fc1", {config.intermediate_size, thinker});
    part.biased(projection + ".linear_fc2", {config.hidden_size, config.intermediate_size});
  }
  return part.take();
}

Part code_predictor_part(const ConfigReader& talker) {
  const TextConfig config = TextConfig::from_json(talker.child("code_predictor_config"), false);
  Builder part("code predictor", "talker.code_predictor.");
  for (int64_t g = 0; g + 1 < talker.integer("num_code_groups", 1, 1024); ++g) {
    part.weight(fmt::format("model.codec_embedding.{}", g),
                {config.vocab_size, config.hidden_size});
    part.weight(fmt::format("lm_head.{}", g), {config.vocab_size, config.hidden_size});
  }
  add_text_layers(part, config, 0);
  return part.take();
}

void add_code2wav_decoder(Builder& part, const ConfigReader& config, int64_t hidden) {
  const int64_t width = config.integer("decoder_dim", 1, kMax);
  part.biased("decoder.0.conv", {width, hidden, 7});
  const auto snake = [&](const std::string& name, int64_t size) {
    part.add(name + "alpha", {size});
    part.add(name + "beta", {size});
  };
  int64_t in = width;
  int64_t stage = 1;
  for (const int64_t rate : config.integers("upsample_rates", 1, 1024)) {
    const std::string block = fmt::format("decoder.{}.block.", stage++);
    const int64_t out = in / 2;
    snake(block + "0.", in);
    part.weight(block + "1.conv", {in, out, 2 * rate});
    part.add(block + "1.conv.bias", {out});
    for (int unit = 2; unit <= 4; ++unit) {
      const std::string residual = fmt::format("{}{}.", block, unit);
      snake(residual + "act1.", out);
      part.biased(residual + "conv1.conv", {out, out, 7});
      snake(residual + "act2.", out);
      part.biased(residual + "conv2.conv", {out, out, 1});
    }
    in = out;
  }
  snake(fmt::format("decoder.{}.", stage), in);
  part.biased(fmt::format("decoder.{}.conv", stage + 1), {1, in, 7});
}

Part code2wav_part(const ConfigReader& config) {
  const int64_t hidden = config.integer("hidden_size", 1, kMax);
  const int64_t heads = config.integer("num_attention_heads", 1, 4096);
  const AttentionSizes attention{hidden, heads, config.integer("num_key_value_heads", 1, 4096),
                                 config.integer_or("head_dim", hidden / heads, 1, 4096)};
  Builder part("code2wav", "code2wav.");
  part.weight("code_embedding",
              {config.integer("codebook_size", 1, kMax) * config.integer("num_quantizers", 1, 1024),
               hidden});
  for (int64_t i = 0; i < config.integer("num_hidden_layers", 1, kMaxLayers); ++i) {
    const std::string layer = fmt::format("pre_transformer.layers.{}.", i);
    add_attention(part, layer, attention, false);
    part.add(layer + "self_attn_layer_scale.scale", {hidden});
    part.add(layer + "mlp_layer_scale.scale", {hidden});
    add_gated_mlp(part, layer + "mlp.", hidden, config.integer("intermediate_size", 1, kMax));
  }
  part.norm("pre_transformer.norm", hidden);
  int64_t index = 0;
  for (const int64_t ratio : config.integers("upsampling_ratios", 1, 1024)) {
    const std::string stage = fmt::format("upsample.{}.", index++);
    part.weight(stage + "0.conv", {hidden, hidden, ratio});
    part.add(stage + "0.conv.bias", {hidden});
    part.biased(stage + "1.dwconv.conv", {hidden, 1, 7});
    part.biased_norm(stage + "1.norm", hidden);
    part.biased(stage + "1.pwconv1", {4 * hidden, hidden});
    part.biased(stage + "1.pwconv2", {hidden, 4 * hidden});
    part.add(stage + "1.gamma", {hidden});
  }
  add_code2wav_decoder(part, config, hidden);
  return part.take();
}

}  // namespace

int64_t Part::parameters() const {
  int64_t total = 0;
  for (const ExpectedTensor& tensor : tensors) {
    total += tensor.shape.elements();
  }
  return total;
}

std::vector<Part> omni_parts(const ModelFiles& files) {
  const ConfigReader config = files.config_reader();
  const ConfigReader thinker = config.child("thinker_config");
  std::vector<Part> parts{text_part(files)};
  const auto add = [&](const ConfigReader& where, const char* key, const auto& make) {
    if (where.has(key)) {
      parts.push_back(make(where.child(key)));
    }
  };
  add(thinker, "audio_config", audio_part);
  add(thinker, "vision_config", vision_part);
  add(config, "talker_config", talker_part);
  if (config.has("talker_config")) {
    parts.push_back(code_predictor_part(config.child("talker_config")));
  }
  add(config, "code2wav_config", code2wav_part);
  return parts;
}

PartState compare_part(const Part& part, const WeightSource& source) {
  PartState state;
  for (const ExpectedTensor& tensor : part.tensors) {
    const WeightInfo* found = source.find(tensor.name);
    if (found == nullptr) {
      state.missing.push_back(tensor.name);
      continue;
    }
    ++state.present;
    if (found->shape != tensor.shape) {
      state.misshapen.push_back(fmt::format("{}: {} instead of {}", tensor.name,
                                            to_string(found->shape), to_string(tensor.shape)));
    }
  }
  return state;
}

}  // namespace candela::models
