// Text on its way out: stop strings, statistics, the memory plan.
#include <gtest/gtest.h>

#include "base/error.h"
#include "engine/budget.h"
#include "engine/stats.h"
#include "engine/text_stream.h"
#include "tokenizer/utf8.h"

namespace candela::engine {
namespace {

const Tokenizer& tokenizer() {
  static const Tokenizer made = Tokenizer::from_folder(CANDELA_TINY_OMNI_DIR);
  return made;
}

/// The pieces that a stream lets go for one token a character, then at the end.
std::vector<std::string> pieces_of(const std::string& text, std::vector<std::string> stops) {
  TextStream stream(tokenizer(), std::move(stops));
  std::vector<std::string> pieces;
  for (const char c : text) {
    const auto ids = tokenizer().encode(std::string(1, c), ParseSpecial::No);
    pieces.push_back(stream.push(ids.at(0)));
  }
  pieces.push_back(stream.finish());
  return pieces;
}

using Pieces = std::vector<std::string>;

TEST(TextStream, LetsEverythingGoWithoutStopStrings) {
  EXPECT_EQ(pieces_of("abc", {}), (Pieces{"a", "b", "c", ""}));
}

TEST(TextStream, HoldsBackWhatCouldBecomeAStopString) {
  EXPECT_EQ(pieces_of("axyb", {"xyz"}), (Pieces{"a", "", "", "xyb", ""}));
  EXPECT_EQ(pieces_of("axy", {"xyz"}), (Pieces{"a", "", "", "xy"})) << "the end frees it";
  EXPECT_EQ(pieces_of("xxyz", {"xyz"}), (Pieces{"", "x", "", "", ""}));
  EXPECT_EQ(pieces_of("xyxyz!", {"xyz"}), (Pieces{"", "", "xy", "", "", "", ""}));
}

TEST(TextStream, TheFirstStopStringEndsTheText) {
  EXPECT_EQ(pieces_of("one. two! three", {"!", "wo"}),
            (Pieces{"o", "n", "e", ".", " ", "t", "", "", "", "", "", "", "", "", "", ""}));
  TextStream stream(tokenizer(), {"NIX", "ENDE"});
  const auto ids = tokenizer().encode("ab ENDE cd", ParseSpecial::No);
  std::string text;
  for (const uint32_t id : ids) {
    text += stream.push(id);
    if (stream.stopped()) {
      break;
    }
  }
  EXPECT_TRUE(stream.stopped());
  EXPECT_EQ(text + stream.finish(), "ab ");
  EXPECT_EQ(stream.push(ids[0]), "") << "nothing comes after the stop";
}

TEST(TextStream, WholeCharactersOnlyAndNoSpecialTokens) {
  const auto ids = tokenizer().encode("x\U0001F642y", ParseSpecial::No);
  TextStream stream(tokenizer(), {"y!"});
  std::string text;
  for (const uint32_t id : ids) {
    const std::string piece = stream.push(id);
    EXPECT_TRUE(find_invalid_utf8(piece) == std::string::npos);
    text += piece;
  }
  EXPECT_EQ(text, "x\U0001F642");
  EXPECT_EQ(stream.push(tokenizer().token_to_id("<|im_end|>").value()), "");
  EXPECT_EQ(stream.finish(), "y");
}

TEST(TextStream, EmptyStopStringIsAnError) {
  EXPECT_THROW(TextStream(tokenizer(), {"a", ""}), Error);
}

TEST(Stats, TextAndRates) {
  Stats stats;
  EXPECT_EQ(stats.prefill_rate(), 0.0);
  EXPECT_EQ(stats.decode_rate(), 0.0);
  stats = {.prompt_tokens = 36,
           .new_tokens = 64,
           .prefill_seconds = 0.5,
           .decode_seconds = 2.0,
           .decode_steps = 63,
           .decode_dispatches = 6300,
           .decode_readbacks = 63};
  EXPECT_EQ(stats.prefill_rate(), 72.0);
  EXPECT_EQ(stats.decode_rate(), 31.5);
  EXPECT_EQ(
      summary(stats),
      "prompt 36 tokens in 0.50 s (72.0 tokens/s) · answer 64 tokens in 2.50 s (31.5 tokens/s)"
      " · 100 dispatches a token");
  stats.host_steps = 2;
  EXPECT_TRUE(summary(stats).ends_with(" · 2 steps drawn on the host"));
  stats.host_steps = 0;
  stats.decode_steps = 0;
  stats.decode_dispatches = 0;
  EXPECT_EQ(summary(stats), "prompt 36 tokens in 0.50 s (72.0 tokens/s)");
}

TEST(Budget, BytesByHand) {
  models::TextConfig config;
  config.layers = 3;
  config.kv_heads = 2;
  config.heads = 4;
  config.head_dim = 8;
  config.hidden_size = 16;
  config.intermediate_size = 20;
  config.vocab_size = 50;
  // A position: 2 * 3 * 2 * 8 = 96 numbers. A token: 3 * 16 + 3 * 32 + 2 * 20 = 184 numbers.
  const MemoryPlan plan = plan_memory(config, 1000, 10, DType::BF16, 5);
  ASSERT_EQ(plan.lines.size(), 3u);
  EXPECT_EQ(plan.lines[0].bytes, 1000u);
  EXPECT_EQ(plan.lines[1].bytes, 10u * 96 * 2);
  EXPECT_EQ(plan.lines[2].bytes, 5u * 184 * 4 + 8 * 50);
  EXPECT_EQ(plan.total(), 1000u + 1920 + 4080);
  EXPECT_EQ(plan_memory(config, 0, 10, DType::F32, 5).lines[1].bytes, 3840u);
  config.head_dim = 32;
  // A page: 2 * 3 * 2 * 64 * 32 = 24576 numbers; 65 new positions and two pages more are in F16,
  // too.
  EXPECT_EQ(plan_memory(config, 0, 10, DType::Q8_16, 65).lines[1].bytes,
            10u * 12 * 36 + 4 * 24576 * 2);
  config.head_dim = 8;
  config.experts = 6;
  config.experts_per_token = 2;
  config.moe_intermediate_size = 12;
  EXPECT_EQ(plan_memory(config, 0, 10, DType::F32, 5).lines[2].bytes, 5u * 168 * 4 + 8 * 50);
}

TEST(Budget, Text) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(1023), "1023 B");
  EXPECT_EQ(format_bytes(1024), "1.0 KiB");
  EXPECT_EQ(format_bytes(1536), "1.5 KiB");
  EXPECT_EQ(format_bytes(uint64_t{66} << 30), "66.0 GiB");
  EXPECT_EQ(summary(MemoryPlan{{{"weights", 3 << 20}, {"cache", 512}}}),
            "weights 3.0 MiB + cache 512 B = 3.0 MiB");
}

}  // namespace
}  // namespace candela::engine
