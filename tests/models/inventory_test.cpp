#include "models/qwen3_omni/inventory.h"

#include <set>

#include "models/support.h"

namespace candela::models {
namespace {

TEST(Inventory, NamesAndShapesOfTheTinyCheckpointBothWays) {
  const ModelFiles files = open_model(kTinyOmni);
  std::map<std::string, Shape> expected;
  for (const Part& part : omni_parts(files)) {
    for (const ExpectedTensor& tensor : part.tensors) {
      EXPECT_TRUE(tensor.name.starts_with(part.prefix)) << tensor.name;
      EXPECT_TRUE(expected.emplace(tensor.name, tensor.shape).second) << tensor.name << " twice";
    }
  }
  for (const WeightInfo& tensor : files.weights->tensors()) {
    const auto found = expected.find(tensor.name);
    if (found == expected.end()) {
      ADD_FAILURE() << tensor.name << " is not expected";
      continue;
    }
    EXPECT_EQ(found->second, tensor.shape) << tensor.name;
    expected.erase(found);
  }
  for (const auto& [name, shape] : expected) {
    ADD_FAILURE() << name << " is not in the checkpoint";
  }
}

TEST(Inventory, CountsOfThePublishedModel) {
  size_t tensors = 0;
  int64_t parameters = 0;
  std::map<std::string, std::pair<size_t, int64_t>> parts;
  for (const Part& part : omni_parts(open_config(kGolden + "/config-full.json"))) {
    tensors += part.tensors.size();
    parameters += part.parameters();
    parts[part.name] = {part.tensors.size(), part.parameters()};
  }
  EXPECT_EQ(tensors, 28010u);
  EXPECT_EQ(parameters, 35'259'818'545);
  EXPECT_EQ(parts.at("text decoder").first, 18867u);  // 48 * (3 * 128 + 9) + 3
  EXPECT_EQ(parts.at("audio tower").first, 525u);
}

TEST(Inventory, PartsWithoutConfigAreLeftOut) {
  ordered_json config = read_json(kTinyOmni + "/config.json");
  const auto names = [&] {
    std::vector<std::string> out;
    for (const Part& part : omni_parts(files_of(config))) {
      out.push_back(part.name);
    }
    return out;
  };
  EXPECT_EQ(names(), (std::vector<std::string>{"text decoder", "audio tower", "vision tower",
                                               "talker", "code predictor", "code2wav"}));
  config.erase("talker_config");
  config.erase("code2wav_config");
  config["thinker_config"]["vision_config"] = nullptr;
  EXPECT_EQ(names(), (std::vector<std::string>{"text decoder", "audio tower"}));
}

TEST(Inventory, WrongValuesNameTheirPlace) {
  const auto refuse = [](const std::string& pointer, const ordered_json& value,
                         std::initializer_list<std::string> parts) {
    ordered_json config = read_json(kTinyOmni + "/config.json");
    config[ordered_json::json_pointer(pointer)] = value;
    expect_model_error(ErrorKind::CorruptData, parts, [&] { omni_parts(files_of(config)); });
  };
  refuse("/thinker_config/audio_config/d_model", 0, {"audio_config", "d_model"});
  refuse("/thinker_config/audio_config/encoder_layers", -1, {"audio_config", "encoder_layers"});
  refuse("/thinker_config/vision_config/depth", 1e12, {"vision_config", "depth"});
  refuse("/thinker_config/vision_config", 5, {"vision_config", "not an object"});
  refuse("/talker_config/text_config/num_experts_per_tok", 9,
         {"talker_config text_config", "9 of 8"});
  refuse("/talker_config/num_code_groups", 0, {"talker_config", "num_code_groups"});
  refuse("/code2wav_config/upsample_rates", {8, 0}, {"code2wav_config", "upsample_rates"});
  refuse("/code2wav_config/upsample_rates", 8, {"code2wav_config", "array"});
}

// 1,024 layers of 1,024 experts would be three million names.
TEST(Inventory, HugeCountsAreRefusedInsteadOfBuilt) {
  for (const char* place : {"/thinker_config/text_config", "/talker_config/text_config"}) {
    ordered_json config = read_json(kTinyOmni + "/config.json");
    ordered_json& text = config[ordered_json::json_pointer(place)];
    text["num_hidden_layers"] = 1024;
    text["num_experts"] = 1024;
    expect_model_error(ErrorKind::CorruptData, {"more than 262144 tensors"},
                       [&] { omni_parts(files_of(config)); });
  }
  ordered_json config = read_json(kTinyOmni + "/config.json");
  config["code2wav_config"]["upsample_rates"] = std::vector<int>(5000, 2);
  expect_model_error(ErrorKind::CorruptData, {"upsample_rates", "at most 4096"},
                     [&] { omni_parts(files_of(config)); });
}

}  // namespace
}  // namespace candela::models
