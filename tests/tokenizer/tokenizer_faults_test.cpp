// Damaged tokenizer files: each ends in one clear line about the model.
#include <chrono>

#include "tokenizer/support.h"

namespace candela::test {
namespace {

using nlohmann::json;

void expect_fault(const TempFolder& folder, const std::string& part) {
  const Error error = error_of([&] { Tokenizer::from_folder(folder.path()); });
  EXPECT_EQ(error.kind(), ErrorKind::CorruptData) << error.what();
  EXPECT_EQ(error.subject(), Subject::Model) << error.what();
  EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  EXPECT_LT(std::string_view(error.what()).size(), 600u) << error.what();
}

class TokenizerFaults : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"vocab.json", "merges.txt", "tokenizer_config.json"}) {
      folder_.copy_tiny(name);
    }
  }
  /// Changes a JSON file of the folder.
  template <typename Edit>
  void edit(const char* name, Edit change) {
    json value = json::parse(read_text(folder_.path() / name));
    change(value);
    folder_.with(name, value.dump());
  }
  TempFolder folder_;
};

TEST_F(TokenizerFaults, UnchangedFilesAreFine) {
  EXPECT_EQ(Tokenizer::from_folder(folder_.path()).vocab_size(), 1792u);
}

TEST_F(TokenizerFaults, MissingFiles) {
  std::filesystem::remove(folder_.path() / "merges.txt");
  const Error error = error_of([&] { Tokenizer::from_folder(folder_.path()); });
  EXPECT_EQ(error.kind(), ErrorKind::NotFound);
  EXPECT_EQ(error.subject(), Subject::Model);
}

TEST_F(TokenizerFaults, Vocabulary) {
  folder_.with("vocab.json", "{\"a\": 0");
  expect_fault(folder_, "not valid JSON");
  folder_.with("vocab.json", "[]");
  expect_fault(folder_, "not an object");
  folder_.with("vocab.json", "");
  expect_fault(folder_, "not valid JSON");
  for (const char* id : {"-1", "1.5", "\"1\"", "null", "4294967296"}) {
    folder_.with("vocab.json", std::string("{\"a\": ") + id + "}");
    expect_fault(folder_, "\"a\"");
  }
  folder_.with("vocab.json", "{}");
  expect_fault(folder_, "malformed");
}

TEST_F(TokenizerFaults, VocabularyGapsAndDoubles) {
  edit("vocab.json", [](json& vocab) { vocab["zzzz"] = 1'000'000; });
  expect_fault(folder_, "gap");
  edit("vocab.json", [](json& vocab) { vocab["zzzz"] = 4'000'000'000u; });
  expect_fault(folder_, "4000000000");
  edit("vocab.json", [](json& vocab) { vocab["zzzz"] = 5; });
  expect_fault(folder_, "share the id 5");
}

TEST_F(TokenizerFaults, Merges) {
  const std::string merges = read_text(folder_.path() / "merges.txt");
  folder_.with("merges.txt", merges + "zzzz yyyy\n");
  expect_fault(folder_, "malformed");
  folder_.with("merges.txt", merges + "justone\n");
  expect_fault(folder_, "is not a pair");
  folder_.with("merges.txt", merges + "a b c\n");
  expect_fault(folder_, "is not a pair");
  folder_.with("merges.txt", merges + "a \xFF\n");
  expect_fault(folder_, "is not a pair");
}

TEST_F(TokenizerFaults, Config) {
  folder_.with("tokenizer_config.json", "{");
  expect_fault(folder_, "not valid JSON");
  for (const char* config :
       {R"({"tokenizer_class": 3})", R"({"add_prefix_space": "x"})", R"({"add_bos_token": 7})",
        R"({"added_tokens_decoder": []})", R"({"added_tokens_decoder": {"x": {"content": "<a>"}}})",
        R"({"added_tokens_decoder": {"1759": 3}})", R"({"added_tokens_decoder": {"1759": {}}})",
        R"({"added_tokens_decoder": {"1759": {"content": ""}}})",
        R"({"added_tokens_decoder": {"1800": {"content": "<a>"}}})",
        R"({"added_tokens_decoder": {"7": {"content": "<a>"}}})"}) {
    folder_.with("tokenizer_config.json", config);
    SCOPED_TRACE(config);
    expect_fault(folder_, "");
  }
  folder_.with("tokenizer_config.json", R"({"tokenizer_class": "LlamaTokenizer"})");
  const Error error = error_of([&] { Tokenizer::from_folder(folder_.path()); });
  EXPECT_EQ(error.kind(), ErrorKind::Unsupported);
  EXPECT_NE(std::string(error.what()).find("LlamaTokenizer"), std::string::npos);
}

TEST_F(TokenizerFaults, AddedTokensThatContainEachOther) {
  edit("tokenizer_config.json", [](json& config) {
    config["added_tokens_decoder"] = {{"1759", {{"content", "<a>"}}},
                                      {"1760", {{"content", "<a><a>"}}},
                                      {"1761", {{"content", "<a><a><a>"}}}};
  });
  const Tokenizer tokenizer = Tokenizer::from_folder(folder_.path());
  EXPECT_EQ(tokenizer.encode("<a><a><a><a>", ParseSpecial::Yes),
            (std::vector<uint32_t>{1761, 1759}))
      << "longest first";
  // The same token twice cannot have both ids.
  edit("tokenizer_config.json", [](json& config) {
    config["added_tokens_decoder"] = {{"1759", {{"content", "<a>"}}},
                                      {"1760", {{"content", "<a>"}}}};
  });
  expect_fault(folder_, "\"<a>\"");
}

TEST_F(TokenizerFaults, TokenizerJson) {
  const json good = json::parse(read_text(tiny_omni_dir() / "tokenizer.json"));
  folder_.with("tokenizer.json", "{");
  expect_fault(folder_, "tokenizer.json");
  folder_.with("tokenizer.json", "\xFF");
  expect_fault(folder_, "UTF-8");
  folder_.with("tokenizer.json", std::string(100'000, '['));
  expect_fault(folder_, "tokenizer.json");
  folder_.with("tokenizer.json", "{\"normalizer\":" + std::string(100'000, '['));
  expect_fault(folder_, "tokenizer.json");
  const auto changed = [&](const char* pointer, const json& value) {
    json copy = good;
    copy[json::json_pointer(pointer)] = value;
    folder_.with("tokenizer.json", copy.dump());
  };
  changed("/model/merges", json::array({json::array({"zzzz", "yyyy"})}));
  expect_fault(folder_, "malformed");
  changed("/model/type", "Nonsense");
  expect_fault(folder_, "malformed");
  changed("/added_tokens/0/id", 5);
  expect_fault(folder_, "should have the id 5");
  changed("/added_tokens/0/id", -5);
  expect_fault(folder_, "malformed");
  changed("/pre_tokenizer/pretokenizers/0/pattern/Regex", "(((");
  expect_fault(folder_, "malformed");
  changed("/decoder", nullptr);
  const Error error = error_of([&] { Tokenizer::from_folder(folder_.path()); });
  EXPECT_EQ(error.kind(), ErrorKind::Unsupported);
}

TEST_F(TokenizerFaults, RegexBombsAreStopped) {
  json bomb = json::parse(read_text(tiny_omni_dir() / "tokenizer.json"));
  bomb["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = R"((a|aa|a?a)+$b)";
  folder_.with("tokenizer.json", bomb.dump());
  const Tokenizer tokenizer = Tokenizer::from_folder(folder_.path());
  const auto start = std::chrono::steady_clock::now();
  const Error error =
      error_of([&] { tokenizer.encode(std::string(5000, 'a'), ParseSpecial::Yes); });
  EXPECT_EQ(error.kind(), ErrorKind::CorruptData);
  EXPECT_EQ(error.subject(), Subject::Model);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
}

}  // namespace
}  // namespace candela::test
