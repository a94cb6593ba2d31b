#pragma once

#include <cstdint>
#include <string>

#include "tokenizer/tokenizer.h"
#include "tokenizer/utf8.h"

namespace candela {

/// Text of ids that arrive one by one. What it returns is always whole characters: the bytes of an
/// incomplete one are held back until the tokens that complete it have come. All pieces together
/// equal Tokenizer::decode of all ids.
class StreamDecoder {
 public:
  /// `tokenizer` must outlive the decoder.
  StreamDecoder(const Tokenizer& tokenizer, SkipSpecial skip)
      : tokenizer_(&tokenizer), skip_(skip) {}

  /// The text that is complete with this token; often empty.
  std::string push(uint32_t id);

  /// The end of the answer: U+FFFD if a character stayed incomplete. The decoder can be used again.
  std::string finish();

 private:
  const Tokenizer* tokenizer_;
  SkipSpecial skip_;
  Utf8Decoder utf8_;
};

}  // namespace candela
