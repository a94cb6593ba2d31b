// Input: one byte choosing the file that is damaged, then that file's text. The tokenizer may
// refuse it with an Error and nothing else; what it accepts must decode what it encodes to valid
// UTF-8.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/error.h"
#include "tokenizer/stream_decoder.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/utf8.h"

namespace {

using namespace candela;

void use(const Tokenizer& tokenizer, std::string_view text) {
  for (const ParseSpecial parse : {ParseSpecial::No, ParseSpecial::Yes}) {
    const auto ids = tokenizer.encode(text, parse);
    StreamDecoder stream(tokenizer, SkipSpecial::No);
    std::string pieces;
    for (const uint32_t id : ids) {
      pieces += stream.push(id);
    }
    pieces += stream.finish();
    if (pieces != tokenizer.decode(ids, SkipSpecial::No) ||
        find_invalid_utf8(pieces) != std::string_view::npos) {
      std::abort();
    }
  }
}

/// A list of tokens and merges, one a line: "token", "left right".
GgufTokenizerSpec spec_of(std::string_view text) {
  GgufTokenizerSpec spec;
  spec.model = "gpt2";
  spec.pre = "smollm";
  while (!text.empty()) {
    const size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.find(' ') != std::string_view::npos) {
      spec.merges.emplace_back(line);
    } else {
      spec.tokens.emplace_back(line);
      spec.token_types.push_back(line.starts_with('<') ? 3 : 1);
    }
  }
  return spec;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1 || size > 20'000) {
    return 0;
  }
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  try {
    if (data[0] % 2 == 0) {
      TokenizerSource source;
      source.name = "of the fuzzer";
      source.json = text;
      use(Tokenizer(source), "ab 12\n<s>\u00e9");
    } else {
      use(Tokenizer::from_gguf_metadata(spec_of(text)), text);
    }
  } catch (const Error&) {
    // Refusing is fine.
  }
  return 0;
}
