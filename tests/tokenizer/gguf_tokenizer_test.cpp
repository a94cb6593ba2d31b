// Tokenizers from GGUF metadata. The demo's model brings a real one; a small reader of just its
// metadata stands here, so that this area is tested without the weights.
#include <array>
#include <fstream>
#include <map>

#include "tokenizer/chat_prompt.h"
#include "tokenizer/support.h"

namespace candela::test {
namespace {

using Ids = std::vector<uint32_t>;

/// Reads the metadata of a well-formed GGUF 3 file.
class Metadata {
 public:
  explicit Metadata(const std::filesystem::path& path) : file_(path, std::ios::binary) {
    read<std::array<char, 16>>();  // magic, version, number of tensors
    for (auto count = read<uint64_t>(); count > 0; --count) {
      const std::string key = read_string();
      read_value(key, read<uint32_t>());
    }
  }
  std::map<std::string, std::string> texts;
  std::map<std::string, int64_t> numbers;
  std::map<std::string, std::vector<std::string>> text_lists;
  std::map<std::string, std::vector<int32_t>> number_lists;

 private:
  template <typename T>
  T read() {
    T value{};
    file_.read(reinterpret_cast<char*>(&value), sizeof(value));
    return value;
  }
  std::string read_string() {
    std::string text(read<uint64_t>(), '\0');
    file_.read(text.data(), static_cast<std::streamsize>(text.size()));
    return text;
  }
  void read_value(const std::string& key, uint32_t type) {
    switch (type) {
      case 4:
      case 5:
        numbers[key] = read<int32_t>();
        break;
      case 6:
        read<float>();
        break;
      case 7:
        numbers[key] = read<uint8_t>();
        break;
      case 8:
        texts[key] = read_string();
        break;
      case 9: {
        const auto item_type = read<uint32_t>();
        for (auto count = read<uint64_t>(); count > 0; --count) {
          if (item_type == 8) {
            text_lists[key].push_back(read_string());
          } else {
            number_lists[key].push_back(read<int32_t>());
          }
        }
        break;
      }
      default:
        throw std::runtime_error("unexpected metadata type of " + key);
    }
  }
  std::ifstream file_;
};

GgufTokenizerSpec smollm_spec() {
  Metadata metadata(std::filesystem::path(CANDELA_DEPS_DIR) / "models" /
                    "SmolLM2-135M-Instruct.Q4_1.gguf");
  GgufTokenizerSpec spec;
  spec.model = metadata.texts["tokenizer.ggml.model"];
  spec.pre = metadata.texts["tokenizer.ggml.pre"];
  spec.tokens = metadata.text_lists["tokenizer.ggml.tokens"];
  spec.token_types = metadata.number_lists["tokenizer.ggml.token_type"];
  spec.merges = metadata.text_lists["tokenizer.ggml.merges"];
  spec.bos_id = static_cast<uint32_t>(metadata.numbers["tokenizer.ggml.bos_token_id"]);
  spec.eos_id = static_cast<uint32_t>(metadata.numbers["tokenizer.ggml.eos_token_id"]);
  spec.chat_template = metadata.texts["tokenizer.chat_template"];
  return spec;
}

TEST(GgufTokenizer, SmolLmRepeatsTheGoldenPromptsAndAnswers) {
  const GgufTokenizerSpec spec = smollm_spec();
  const Tokenizer tokenizer = Tokenizer::from_gguf_metadata(spec);
  const auto chat_template = ChatTemplate::from_gguf_metadata(spec);
  ASSERT_TRUE(chat_template.has_value());
  EXPECT_EQ(tokenizer.vocab_size(), 49152u);
  EXPECT_EQ(tokenizer.bos_id(), 1u);
  ASSERT_EQ(tokenizer.eos_ids().size(), 1u);
  EXPECT_EQ(tokenizer.eos_ids()[0], 2u);
  EXPECT_FALSE(tokenizer.adds_bos());
  for (const auto& c : golden_list("golden_smollm2.json", "cases")) {
    ChatInput input;
    input.messages = nlohmann::ordered_json::array({{{"role", "user"}, {"content", c["user"]}}});
    for (const ParseSpecial contents : {ParseSpecial::Yes, ParseSpecial::No}) {
      const ChatPrompt prompt = encode_chat(tokenizer, *chat_template, input, contents);
      EXPECT_EQ(prompt.rendered, c["prompt"].get<std::string>());
      EXPECT_EQ(prompt.ids, c["prompt_ids"].get<Ids>()) << c["user"];
    }
    EXPECT_EQ(tokenizer.decode(c["ids"].get<Ids>(), SkipSpecial::Yes),
              c["text"].get<std::string>());
  }
}

/// A vocabulary of the bytes' stand-ins for a-z, digits, space (U+0120) and line feed (U+010A).
GgufTokenizerSpec small_spec(const std::string& pre) {
  GgufTokenizerSpec spec;
  spec.model = "gpt2";
  spec.pre = pre;
  for (const char c : std::string_view("abcdefghijklmnopqrstuvwxyz0123456789$")) {
    spec.tokens.emplace_back(1, c);
  }
  for (const char* token :
       {"\u0120", "\u010A", "12", "123", "ab", "\u0120ab", "$$", "<s>", "xyz"}) {
    spec.tokens.emplace_back(token);
  }
  spec.token_types.assign(spec.tokens.size(), 1);
  spec.token_types[spec.tokens.size() - 2] = 3;
  spec.merges = {"1 2", "12 3", "a b", "\u0120 ab", "$ $"};
  spec.eos_id = static_cast<uint32_t>(spec.tokens.size() - 2);
  return spec;
}

/// The tokens of a text, joined by "|".
std::string split(const std::string& pre, const std::string& text) {
  const Tokenizer tokenizer = Tokenizer::from_gguf_metadata(small_spec(pre));
  std::string joined;
  for (const uint32_t id : tokenizer.encode(text, ParseSpecial::Yes)) {
    joined += (joined.empty() ? "" : "|") + std::string(tokenizer.bytes_of(id));
  }
  return joined;
}

TEST(GgufTokenizer, SplitRulesDifferWhereTheyShould) {
  // Digits: one by one, up to three, or as merges allow.
  EXPECT_EQ(split("smollm", "ab 1234 ab"), "ab| |1|2|3|4| ab");
  EXPECT_EQ(split("qwen2", "ab 1234 ab"), "ab| |1|2|3|4| ab");
  EXPECT_EQ(split("llama-bpe", "ab 1234 ab"), "ab| |123|4| ab");
  EXPECT_EQ(split("gpt-2", "ab 1234 ab"), "ab| |123|4| ab");
  EXPECT_EQ(split("default", "ab 1234 ab"), "ab| |123|4| ab");
  // default takes symbols apart from the letters before anything else; gpt-2 binds the space.
  EXPECT_EQ(split("default", "ab $$ab"), "ab| |$$|ab");
  // Only llama-bpe takes a whole piece that no merges lead to.
  EXPECT_EQ(split("llama-bpe", "xyz"), "xyz");
  EXPECT_EQ(split("gpt-2", "xyz"), "x|y|z");
  EXPECT_EQ(split("gpt-2", "ab<s>ab"), "ab|<s>|ab");
}

void expect_fault(const GgufTokenizerSpec& spec, ErrorKind kind, const std::string& part) {
  const Error error = error_of([&] { Tokenizer::from_gguf_metadata(spec); });
  EXPECT_EQ(error.kind(), kind) << error.what();
  EXPECT_EQ(error.subject(), Subject::Model) << error.what();
  EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
}

TEST(GgufTokenizer, FaultsAreNamed) {
  GgufTokenizerSpec spec = small_spec("gpt-2");
  spec.model = "llama";
  expect_fault(spec, ErrorKind::Unsupported, "\"llama\"");
  expect_fault(small_spec("deepseek-v3"), ErrorKind::Unsupported, "\"deepseek-v3\"");
  spec = small_spec("gpt-2");
  spec.tokens.clear();
  spec.token_types.clear();
  expect_fault(spec, ErrorKind::CorruptData, "0 tokens");
  spec = small_spec("gpt-2");
  spec.token_types.pop_back();
  expect_fault(spec, ErrorKind::CorruptData, "token types");
  spec = small_spec("gpt-2");
  spec.tokens[3] = "a";
  expect_fault(spec, ErrorKind::CorruptData, "occurs twice");
  spec = small_spec("gpt-2");
  spec.tokens[3] = "\xFF";
  expect_fault(spec, ErrorKind::CorruptData, "UTF-8");
  spec = small_spec("gpt-2");
  spec.merges.push_back("abc");
  expect_fault(spec, ErrorKind::CorruptData, "Merge 6");
  spec = small_spec("gpt-2");
  spec.merges.push_back("q q");
  expect_fault(spec, ErrorKind::CorruptData, "malformed");
  spec = small_spec("gpt-2");
  spec.eos_id = 9999;
  expect_fault(spec, ErrorKind::CorruptData, "9999");
  spec = small_spec("gpt-2");
  spec.add_space_prefix = true;
  expect_fault(spec, ErrorKind::Unsupported, "add_space_prefix");
}

}  // namespace
}  // namespace candela::test
