#include "tokenizer/stream_decoder.h"

#include "tokenizer/support.h"
#include "tokenizer/utf8.h"

namespace candela::test {
namespace {

constexpr std::string_view kReplacement = "\uFFFD";

std::string without_end_replacement(std::string text) {
  while (text.ends_with(kReplacement)) {
    text.resize(text.size() - kReplacement.size());
  }
  return text;
}

TEST(StreamDecoder, ShowsTheCompletePartOfEveryPrefix) {
  for (const auto& c : golden_list("tokenizer_cases.json", "streaming")) {
    StreamDecoder stream(real_tokenizer(), SkipSpecial::No);
    std::string shown;
    for (size_t i = 0; i < c["ids"].size(); ++i) {
      const std::string piece = stream.push(c["ids"][i].get<uint32_t>());
      EXPECT_EQ(find_invalid_utf8(piece), std::string::npos);
      EXPECT_EQ(piece.find(kReplacement), std::string::npos);
      shown += piece;
      EXPECT_EQ(shown, without_end_replacement(c["prefixes"][i].get<std::string>())) << c["text"];
    }
    EXPECT_EQ(stream.finish(), "");
    EXPECT_EQ(shown, c["prefixes"].back().get<std::string>());
  }
}

TEST(StreamDecoder, PiecesEqualDecodeOfAll) {
  for (const auto& c : golden_list("tokenizer_cases.json", "cases")) {
    for (const SkipSpecial skip : {SkipSpecial::No, SkipSpecial::Yes}) {
      const auto ids = c["ids"].get<std::vector<uint32_t>>();
      StreamDecoder stream(real_tokenizer(), skip);
      std::string all;
      for (const uint32_t id : ids) {
        const std::string piece = stream.push(id);
        EXPECT_EQ(find_invalid_utf8(piece), std::string::npos);
        all += piece;
      }
      all += stream.finish();
      EXPECT_EQ(all, real_tokenizer().decode(ids, skip)) << c["name"];
    }
  }
}

TEST(StreamDecoder, IncompleteEndBecomesAReplacement) {
  // 378 and 235 are the first two bytes and the last byte of U+200D in the goldens.
  StreamDecoder stream(real_tokenizer(), SkipSpecial::No);
  EXPECT_EQ(stream.push(378), "");
  EXPECT_EQ(stream.finish(), kReplacement);
  EXPECT_EQ(stream.push(378), "") << "it starts anew";
  EXPECT_EQ(stream.push(235), "\u200D");
  EXPECT_EQ(stream.finish(), "");
}

TEST(Utf8Decoder, ReplacesMaximalInvalidSequences) {
  const auto decode = [](std::string_view bytes) {
    Utf8Decoder decoder;
    std::string text;
    decoder.push(bytes, text);
    decoder.finish(text);
    return text;
  };
  // The Unicode standard, table 3-8 to 3-11: one replacement a maximal subpart.
  EXPECT_EQ(decode("\x61\xF1\x80\x80\xE1\x80\xC2\x62\x80\x63\x80\xBF\x64"),
            "a\uFFFD\uFFFD\uFFFDb\uFFFDc\uFFFD\uFFFDd");
  EXPECT_EQ(decode("\xC0\xAF\xE0\x80\xBF\x41"), "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFDA");
  EXPECT_EQ(decode("\xED\xA0\x80"), "\uFFFD\uFFFD\uFFFD") << "a surrogate";
  EXPECT_EQ(decode("\xF4\x90\x80\x80"), "\uFFFD\uFFFD\uFFFD\uFFFD") << "beyond U+10FFFF";
  EXPECT_EQ(decode("\xF0\x9F\x98\x80"), "\U0001F600");
  EXPECT_EQ(decode("\xE2\x82"), "\uFFFD");
}

TEST(Utf8, FindsTheFirstInvalidByte) {
  EXPECT_EQ(find_invalid_utf8("a\u00E9\u3042\U0001F600"), std::string::npos);
  EXPECT_EQ(find_invalid_utf8("ab\xC3"), 2u);
  EXPECT_EQ(find_invalid_utf8("\xE0\x9F\xBF"), 0u);
  EXPECT_EQ(find_invalid_utf8("x\xED\xA0\x80"), 1u);
  EXPECT_EQ(find_invalid_utf8("\x80"), 0u);
}

TEST(Utf8, CodePointsGoBothWays) {
  std::string text;
  for (const char32_t c : {U'a', U'\u00E9', U'\u3042', U'\U0001F600'}) {
    append_code_point(text, c);
  }
  EXPECT_EQ(text, "a\u00E9\u3042\U0001F600");
  size_t at = 0;
  EXPECT_EQ(next_code_point(text, at), U'a');
  EXPECT_EQ(next_code_point(text, at), U'\u00E9');
  EXPECT_EQ(next_code_point(text, at), U'\u3042');
  EXPECT_EQ(next_code_point(text, at), U'\U0001F600');
  EXPECT_EQ(at, text.size());
}

}  // namespace
}  // namespace candela::test
