#include "tokenizer/stream_decoder.h"

namespace candela {

std::string StreamDecoder::push(uint32_t id) {
  std::string text;
  if (skip_ == SkipSpecial::No || !tokenizer_->is_special(id)) {
    utf8_.push(tokenizer_->bytes_of(id), text);
  }
  return text;
}

std::string StreamDecoder::finish() {
  std::string text;
  utf8_.finish(text);
  return text;
}

}  // namespace candela
