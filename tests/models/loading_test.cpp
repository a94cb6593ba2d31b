// What load_model makes of broken, partial and differently stored checkpoints.
#include <filesystem>

#include "models/support.h"

namespace candela::models {
namespace {

using Tensors = std::map<std::string, HostArray>;

void erase_prefix(Tensors& tensors, const std::string& prefix) {
  std::erase_if(tensors, [&](const auto& entry) { return entry.first.starts_with(prefix); });
}

std::vector<float> logits_of(Model& model, const std::vector<uint32_t>& ids) {
  nn::KvCache cache = model.text.make_cache(DType::F32, 0);
  nn::KvSequence sequence;
  const nn::StepRow row{&sequence, ids, false};
  return model.text.forward({&row, 1}, cache).to_vec<float>();
}

std::vector<float> logits_at(const std::string& path) {
  return logits_of(*load_model(open_model(path), Device::cpu()), {5, 6, 7});
}

TEST(Loading, TheTinyCheckpointNamesItsUnusedParts) {
  const auto model = load_model(open_model(kTinyOmni), Device::cpu());
  EXPECT_EQ(model->architecture, "Qwen3OmniMoeForConditionalGeneration");
  ASSERT_EQ(model->unused_parts.size(), 5u);
  EXPECT_TRUE(model->unused_parts[0].starts_with("audio tower (")) << model->unused_parts[0];
}

TEST(Loading, TextOnlyOmniCheckpoint) {
  const Copy copy(kTinyOmni, [](Tensors& tensors, ordered_json& config) {
    for (const char* prefix : {"thinker.audio_tower.", "thinker.visual.", "talker.", "code2wav."}) {
      erase_prefix(tensors, prefix);
    }
    config.erase("talker_config");
    config.erase("code2wav_config");
    config["thinker_config"].erase("audio_config");
    config["thinker_config"].erase("vision_config");
  });
  const auto model = copy.load();
  EXPECT_TRUE(model->unused_parts.empty());
  EXPECT_EQ(logits_of(*model, {5, 6, 7}), logits_at(kTinyOmni)) << "three shards or one file";
}

TEST(Loading, PartsMayBeAbsentThoughTheConfigDescribesThem) {
  const Copy copy(kTinyOmni, [](Tensors& tensors, ordered_json&) {
    erase_prefix(tensors, "talker.");
    erase_prefix(tensors, "code2wav.");
  });
  EXPECT_EQ(copy.load()->unused_parts.size(), 2u);
}

TEST(Loading, AnIncompleteOptionalPartIsAnError) {
  const Copy copy(kTinyOmni, [](Tensors& tensors, ordered_json&) {
    ASSERT_EQ(tensors.erase("thinker.audio_tower.conv2d1.bias"), 1u);
  });
  expect_model_error(ErrorKind::CorruptData,
                     {"audio tower", "incomplete", "thinker.audio_tower.conv2d1.bias", "1 of"},
                     [&] { copy.load(); });
}

TEST(Loading, AMisshapenOptionalPartIsAnError) {
  const Copy copy(kTinyOmni, [](Tensors& tensors, ordered_json&) {
    tensors.at("code2wav.code_embedding.weight").shape = {64, 1024};
  });
  expect_model_error(
      ErrorKind::CorruptData,
      {"code2wav", "code2wav.code_embedding.weight: [64, 1024] instead of [1024, 64]"},
      [&] { copy.load(); });
}

TEST(Loading, APartThatTheConfigLacksIsUnknown) {
  const Copy copy(kTinyOmni,
                  [](Tensors&, ordered_json& config) { config.erase("code2wav_config"); });
  expect_model_error(ErrorKind::CorruptData, {"architecture does not have", "code2wav."},
                     [&] { copy.load(); });
}

TEST(Loading, MissingTensorsAreNamed) {
  for (const char* name : {"model.norm.weight", "model.layers.3.mlp.experts.15.down_proj.weight",
                           "model.layers.0.self_attn.q_norm.weight", "lm_head.weight"}) {
    const Copy copy(kTinyMoe, [&](Tensors& tensors, ordered_json&) {
      ASSERT_EQ(tensors.erase(name), 1u) << name;
    });
    expect_model_error(ErrorKind::NotFound, {name}, [&] { copy.load(); });
  }
}

TEST(Loading, MisshapenTensorsAreNamedWithBothShapes) {
  const Copy copy(kTinyQwen3, [](Tensors& tensors, ordered_json&) {
    tensors.at("model.layers.1.mlp.up_proj.weight").shape = {96, 224};
  });
  expect_model_error(ErrorKind::CorruptData,
                     {"model.layers.1.mlp.up_proj.weight", "[96, 224]", "[224, 96]"},
                     [&] { copy.load(); });
  // One layer more in the config than in the file, and one less.
  const Copy more(kTinyQwen3, [](Tensors&, ordered_json& json) { json["num_hidden_layers"] = 5; });
  expect_model_error(ErrorKind::NotFound, {"model.layers.4."}, [&] { more.load(); });
  const Copy less(kTinyQwen3, [](Tensors&, ordered_json& json) { json["num_hidden_layers"] = 3; });
  expect_model_error(ErrorKind::CorruptData, {"11 tensors", "model.layers.3."},
                     [&] { less.load(); });
}

TEST(Loading, UnknownTensorsAreAnError) {
  const Copy copy(kTinyQwen3, [](Tensors& tensors, ordered_json&) {
    tensors["model.layers.0.self_attn.sinks"] = {DType::F32, {1}, std::vector<std::byte>(4)};
  });
  expect_model_error(ErrorKind::CorruptData, {"1 tensors", "model.layers.0.self_attn.sinks"},
                     [&] { copy.load(); });
}

TEST(Loading, TiedAndUntiedHeads) {
  const std::vector<float> tied = logits_at(kTinyQwen3);
  // The embedding stored once more as the head gives the same logits, whether or not it is read.
  const auto repeat = [](Tensors& tensors) {
    tensors["lm_head.weight"] = tensors.at("model.embed_tokens.weight");
  };
  const Copy ignored(kTinyQwen3, [&](Tensors& tensors, ordered_json&) { repeat(tensors); });
  EXPECT_EQ(logits_at(ignored.path()), tied);
  const Copy untied(kTinyQwen3, [&](Tensors& tensors, ordered_json& config) {
    repeat(tensors);
    config["tie_word_embeddings"] = false;
  });
  EXPECT_EQ(logits_at(untied.path()), tied);
  const Copy headless(
      kTinyQwen3, [](Tensors&, ordered_json& config) { config["tie_word_embeddings"] = false; });
  expect_model_error(ErrorKind::NotFound, {"lm_head.weight"}, [&] { headless.load(); });
}

TEST(Loading, LoadedBytesLeaveUnusedPartsOut) {
  const ModelFiles files = open_model(kTinyOmni);
  uint64_t text = 0, all = 0;
  for (const WeightInfo& tensor : files.weights->tensors()) {
    all += tensor.bytes.size();
    text += tensor.name.starts_with("thinker.model.") || tensor.name.starts_with("thinker.lm_head.")
                ? tensor.bytes.size()
                : 0;
  }
  EXPECT_EQ(loaded_bytes(files), text);
  EXPECT_LT(text, all);
  uint64_t done = 0, total = 0;
  load_model(files, Device::cpu(), [&](uint64_t now, uint64_t of) {
    EXPECT_GT(now, done);
    done = now;
    total = of;
  });
  EXPECT_EQ(done, text);
  EXPECT_EQ(total, text);
}

TEST(Loading, SyntheticWeightsNeedOnlyTheConfig) {
  ordered_json json = read_json(kTinyMoe + "/config.json");
  const auto model = make_synthetic_model(files_of(json), Device::cpu(), 3);
  const std::vector<float> first = logits_of(*model, {5, 6, 7});
  EXPECT_EQ(first.size(), 1920u);
  EXPECT_EQ(first, logits_of(*make_synthetic_model(files_of(json), Device::cpu(), 3), {5, 6, 7}));
  EXPECT_NE(first, logits_of(*make_synthetic_model(files_of(json), Device::cpu(), 4), {5, 6, 7}));
}

}  // namespace
}  // namespace candela::models
