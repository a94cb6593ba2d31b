// `tokenize` against the goldens of the reference, and every wrong line.
#include "cli/support.h"

namespace candela::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

/// The published tokenizer, the seven audio tokens of Qwen3-Omni and the templates in one folder.
class RealTokenizer : public testing::Test {
 protected:
  void SetUp() override {
    const fs::path real = fs::path(CANDELA_DEPS_DIR) / "tokenizer";
    const fs::path golden = fs::path(CANDELA_GOLDEN_DIR) / "tokenizer_real";
    fs::create_symlink(real / "tokenizer.json", folder_.path() / "tokenizer.json");
    for (const char* name : {"omni_chat_template.jinja", "qwen3_chat_template.jinja"}) {
      fs::create_symlink(golden / name, folder_.path() / name);
    }
    ordered_json added = ordered_json::object();
    const char* names[] = {"<|audio_start|>", "<|audio_end|>",  "<tts_pad>",
                           "<tts_text_bos>",  "<tts_text_eod>", "<tts_text_bos_single>",
                           "<|audio_pad|>"};
    for (int i = 0; i < 7; ++i) {
      added[std::to_string(151669 + i)] = {{"content", names[i]}, {"special", true}};
    }
    folder_.write("tokenizer_config.json", ordered_json{{"added_tokens_decoder", added},
                                                        {"tokenizer_class", "Qwen2Tokenizer"}}
                                               .dump());
  }

  /// Sends all lines at once and compares each answer.
  void compare(const std::vector<ordered_json>& requests,
               const std::vector<ordered_json>& expected) {
    ASSERT_FALSE(requests.empty());
    std::string input;
    for (const ordered_json& request : requests) {
      input += request.dump() + "\n";
    }
    const Result result = candela({"tokenize", folder_.path().string(), "--jsonl"}, input);
    ASSERT_EQ(result.code, 0) << result.err;
    EXPECT_EQ(result.err, "");
    std::istringstream lines(result.out);
    std::string line;
    for (size_t i = 0; i < expected.size(); ++i) {
      ASSERT_TRUE(std::getline(lines, line)) << "answer " << i << " is missing";
      const ordered_json answer = ordered_json::parse(line);
      EXPECT_EQ(answer["ids"], expected[i]["ids"]) << requests[i];
      EXPECT_EQ(answer["rendered"], expected[i]["rendered"]) << requests[i];
    }
    EXPECT_FALSE(std::getline(lines, line)) << line;
  }

  TempFolder folder_;
};

TEST_F(RealTokenizer, TextGoldens) {
  std::vector<ordered_json> requests, expected;
  const ordered_json golden = golden_json("tokenizer_cases.json");
  for (const ordered_json& one : golden.at("cases")) {
    requests.push_back({{"text", one.at("text")}});
    expected.push_back({{"ids", one.at("ids")}, {"rendered", one.at("text")}});
  }
  compare(requests, expected);
}

TEST_F(RealTokenizer, TemplateGoldens) {
  std::vector<ordered_json> requests, expected;
  const ordered_json golden = golden_json("chat_template_cases.json");
  for (const ordered_json& one : golden.at("cases")) {
    ordered_json request = one;
    request.erase("ids");
    request.erase("rendered");
    request.erase("name");
    requests.push_back(request);
    expected.push_back({{"ids", one.at("ids")}, {"rendered", one.at("rendered")}});
  }
  compare(requests, expected);
}

Result lines(const std::string& input) {
  return candela({"tokenize", kQwen, "--jsonl"}, input);
}

TEST(TokenizeLines, WrongLinesAreSevenWithTheirNumber) {
  const std::string good = "{\"text\": \"a\"}\n";
  const std::string message = R"({"messages": [{"role": "user", "content": "a"}], )";
  for (const std::string& bad :
       {std::string("{"),
        std::string("[]"),
        std::string("3"),
        std::string("{}"),
        std::string("{\"text\": 3}"),
        std::string("{\"text\": \"\xff\"}"),
        std::string(R"({"messages": 3})"),
        std::string(R"({"messages": []})"),
        std::string(R"({"messages": ["x"]})"),
        std::string(R"({"messages": [{"role": 3, "content": "x"}]})"),
        message + R"("tools": 3})",
        message + R"("add_generation_prompt": "x"})",
        message + R"("template": 3})",
        message + R"("template": "none.jinja"})",
        message + R"("template": ""})",
        message + R"("template": "."})",
        message + R"("template": "../tiny_qwen3/config.json"})",
        message + R"("template": "/etc/passwd"})",
        message + R"("kwargs": 3})",
        "{\"messages\":" + std::string(100'000, '[') + std::string(100'000, ']') + "}"}) {
    SCOPED_TRACE(bad.substr(0, 120));
    Result result = lines(good + "\n" + bad + "\n");
    EXPECT_THAT(result.err, testing::ContainsRegex("[Ll]ine 3"));
    EXPECT_EQ(std::count(result.out.begin(), result.out.end(), '\n'), 1) << result.out;
    result.out.clear();
    expect_error(result, 7, "");
  }
}

TEST(TokenizeLines, TemplateBesideTheModel) {
  const QwenFolder folder;
  folder.write("mine.jinja", "<{{ messages[0].content }}>");
  const Result result =
      candela({"tokenize", folder.path().string(), "--jsonl"},
              R"({"messages": [{"role": "user", "content": "a"}], "template": "mine.jinja"})");
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(ordered_json::parse(result.out)["rendered"], "<a>");
}

TEST(Tokenize, ThereAndBack) {
  const Result ids = candela({"tokenize", kQwen, "Hello, world!"});
  EXPECT_EQ(ids.code, 0) << ids.err;
  EXPECT_EQ(ids.out, "39 301 385 11 289 1385 0\n") << "small_ids of the golden case ascii";
  EXPECT_EQ(candela({"tokenize", kQwen, "-"}, "Hello, world!").out, ids.out);
  const ordered_json json =
      ordered_json::parse(candela({"tokenize", kQwen, "Hello, world!", "--json"}).out);
  EXPECT_EQ(json["schema_version"], 1);
  EXPECT_EQ(json["ids"].size(), 7u);
  EXPECT_EQ(
      candela({"tokenize", kQwen, "--decode", "39", "301", "385", "11", "289", "1385", "0"}).out,
      "Hello, world!\n");
  expect_error(candela({"tokenize", kQwen, "-"}, "\xff"), 7, "UTF-8");
  expect_error(candela({"tokenize", kQwen, "@/nowhere"}), 7, "/nowhere");
}

}  // namespace
}  // namespace candela::test
