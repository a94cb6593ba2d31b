// A released model, from its GGUF file: token for token what an independent program says.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/engine.h"

namespace candela::engine {
namespace {

using Ids = std::vector<uint32_t>;

const std::string kModel =
    std::string(CANDELA_DEPS_DIR) + "/models/SmolLM2-135M-Instruct.Q4_1.gguf";

class SmolLm2 : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(std::filesystem::exists(kModel)) << kModel << " is missing; run scripts/setup test";
    std::ifstream file(std::string(CANDELA_GOLDEN_DIR) + "/golden_smollm2.json");
    cases_ = nlohmann::json::parse(file).at("cases");
    ASSERT_GE(cases_.size(), 3u);
  }
  /// The case's conversation, as the template renders it.
  Request request_of(const Engine& engine, const nlohmann::json& one) const {
    ChatInput input;
    input.messages.push_back({{"role", "user"}, {"content", one.at("user").get<std::string>()}});
    const ChatPrompt prompt = engine.encode(input, ParseSpecial::No);
    EXPECT_EQ(prompt.rendered, one.at("prompt").get<std::string>());
    EXPECT_EQ(prompt.ids, one.at("prompt_ids").get<Ids>());
    Request request = engine.make_request(prompt.ids);
    EXPECT_EQ(std::ranges::count(request.stop_ids, 2u) > 0, true);
    request.max_new_tokens = 64;
    return request;
  }

  nlohmann::json cases_;
};

TEST_F(SmolLm2, AnswersOnTheCpu) {
  Engine engine(kModel, Device::cpu(), {.kv_type = DType::F32});
  std::vector<Request> requests;
  for (const auto& one : cases_) {
    requests.push_back(request_of(engine, one));
  }
  const TextGeneration out = engine.answer(requests);
  for (size_t i = 0; i < cases_.size(); ++i) {
    EXPECT_EQ(out.answers[i].ids, cases_[i].at("ids").get<Ids>()) << cases_[i].at("user");
    EXPECT_EQ(out.answers[i].text, cases_[i].at("text").get<std::string>());
  }
}

TEST_F(SmolLm2, BeginsTheSameOnWebGpu) {
  Engine engine(kModel, Device::wgpu(), {.kv_type = DType::F32});
  Request request = request_of(engine, cases_[0]);
  request.max_new_tokens = 8;
  Ids expected = cases_[0].at("ids").get<Ids>();
  expected.resize(8);
  EXPECT_EQ(engine.answer({&request, 1}).answers[0].ids, expected);
}

}  // namespace
}  // namespace candela::engine
