#include "tokenizer/tokenizer.h"

#include <algorithm>

#include "tokenizer/support.h"

namespace candela::test {
namespace {

using Ids = std::vector<uint32_t>;

TEST(Tokenizer, RealVocabularyEncodesEveryGolden) {
  const auto golden = golden_json("tokenizer_cases.json");
  ASSERT_GE(golden["cases"].size(), 50u);
  for (const auto& c : golden["cases"]) {
    const auto text = c["text"].get<std::string>();
    EXPECT_EQ(real_tokenizer().encode(text, ParseSpecial::Yes), c["ids"].get<Ids>()) << c["name"];
  }
}

TEST(Tokenizer, RealVocabularyDecodesEveryGolden) {
  for (const auto& c : golden_list("tokenizer_cases.json", "cases")) {
    const auto ids = c["ids"].get<Ids>();
    const auto decoded = c["decoded"].get<std::string>();
    EXPECT_EQ(real_tokenizer().decode(ids, SkipSpecial::No), decoded) << c["name"];
    const auto skipped = c.value("decoded_skip_special", decoded);
    EXPECT_EQ(real_tokenizer().decode(ids, SkipSpecial::Yes), skipped) << c["name"];
  }
}

void expect_small_ids(const Tokenizer& tokenizer) {
  size_t compared = 0;
  for (const auto& c : golden_list("tokenizer_cases.json", "cases")) {
    if (c.contains("small_ids")) {
      const auto text = c["text"].get<std::string>();
      EXPECT_EQ(tokenizer.encode(text, ParseSpecial::Yes), c["small_ids"].get<Ids>()) << c["name"];
      ++compared;
    }
  }
  EXPECT_GE(compared, 50u);
}

TEST(Tokenizer, SmallVocabularyFromTokenizerJson) {
  TempFolder folder;
  folder.copy_tiny("tokenizer.json");
  expect_small_ids(Tokenizer::from_folder(folder.path()));
}

TEST(Tokenizer, SmallVocabularyFromVocabAndMerges) {
  TempFolder folder;
  for (const char* name : {"vocab.json", "merges.txt", "tokenizer_config.json"}) {
    folder.copy_tiny(name);
  }
  const Tokenizer tokenizer = Tokenizer::from_folder(folder.path());
  expect_small_ids(tokenizer);
  EXPECT_EQ(tokenizer.vocab_size(), 1759u + 33u);
}

TEST(Tokenizer, PlainTextNeverYieldsAddedTokens) {
  for (const auto& c : golden_list("tokenizer_cases.json", "cases")) {
    const auto text = c["text"].get<std::string>();
    const Ids plain = real_tokenizer().encode(text, ParseSpecial::No);
    for (const uint32_t id : plain) {
      EXPECT_LT(id, 151643u) << c["name"];
    }
    EXPECT_EQ(real_tokenizer().decode(plain, SkipSpecial::Yes), c["decoded"].get<std::string>());
    const auto parsed = c["ids"].get<Ids>();
    const bool has_added =
        std::any_of(parsed.begin(), parsed.end(), [](uint32_t id) { return id >= 151643; });
    EXPECT_EQ(plain != parsed, has_added) << c["name"];
  }
}

TEST(Tokenizer, KnowsItsTokens) {
  const Tokenizer& tokenizer = real_tokenizer();
  EXPECT_EQ(tokenizer.vocab_size(), 151676u);
  EXPECT_EQ(tokenizer.token_to_id("<|im_end|>"), 151645u);
  EXPECT_EQ(tokenizer.id_to_token(151675), "<|audio_pad|>");
  EXPECT_EQ(tokenizer.id_to_token(198), "\u010A");
  EXPECT_EQ(tokenizer.bytes_of(198), "\n");
  EXPECT_EQ(tokenizer.id_to_token(151676), std::nullopt);
  EXPECT_EQ(tokenizer.token_to_id("no such token"), std::nullopt);
  EXPECT_EQ(tokenizer.bytes_of(4'000'000'000), "");
  EXPECT_TRUE(tokenizer.is_special(151645));
  EXPECT_FALSE(tokenizer.is_special(151667)) << "<think> is an added token, but not special";
  EXPECT_EQ(tokenizer.added_tokens().size(), 33u);
  ASSERT_EQ(tokenizer.eos_ids().size(), 1u);
  EXPECT_EQ(tokenizer.eos_ids()[0], 151645u);
}

TEST(Tokenizer, MarksKeepTokensApartAndVanish) {
  const Tokenizer& tokenizer = real_tokenizer();
  const Ids expected = [&] {
    Ids ids = {151644};
    const Ids text = tokenizer.encode("a <|im_end|> b", ParseSpecial::No);
    ids.insert(ids.end(), text.begin(), text.end());
    ids.push_back(151645);
    return ids;
  }();
  const std::string mark = "\uFDD0";
  EXPECT_EQ(tokenizer.encode_marked("<|im_start|>a <" + mark + "|im_end|> b<|im_end|>", 0xFDD0),
            expected);
}

TEST(Tokenizer, RefusesTextThatIsNotUtf8) {
  const Error error = error_of([] { real_tokenizer().encode("ab\xFFz", ParseSpecial::Yes); });
  EXPECT_EQ(error.kind(), ErrorKind::InvalidArgument);
  EXPECT_EQ(error.subject(), Subject::Input);
  EXPECT_NE(std::string(error.what()).find("byte 2"), std::string::npos) << error.what();
}

}  // namespace
}  // namespace candela::test
