#include "tokenizer/utf8.h"

namespace candela {

namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

/// How a character that starts with `lead` goes on: the number of further bytes (-1: it cannot
/// start one) and the range of the next byte, which rules out overlong forms and surrogates.
struct Continuation {
  int needed;
  unsigned char lowest = 0x80;
  unsigned char highest = 0xBF;
};

Continuation continuation_of(unsigned char lead) {
  if (lead < 0x80) {
    return {0};
  }
  if (lead >= 0xC2 && lead <= 0xDF) {
    return {1};
  }
  if (lead >= 0xE0 && lead <= 0xEF) {
    return {2, static_cast<unsigned char>(lead == 0xE0 ? 0xA0 : 0x80),
            static_cast<unsigned char>(lead == 0xED ? 0x9F : 0xBF)};
  }
  if (lead >= 0xF0 && lead <= 0xF4) {
    return {3, static_cast<unsigned char>(lead == 0xF0 ? 0x90 : 0x80),
            static_cast<unsigned char>(lead == 0xF4 ? 0x8F : 0xBF)};
  }
  return {-1};
}

}  // namespace

void Utf8Decoder::push_byte(unsigned char byte, std::string& out) {
  if (needed_ > 0) {
    if (byte >= lowest_ && byte <= highest_) {
      pending_ += static_cast<char>(byte);
      lowest_ = 0x80;
      highest_ = 0xBF;
      if (--needed_ == 0) {
        out += pending_;
        pending_.clear();
      }
      return;
    }
    // The byte may start a character of its own.
    finish(out);
  }
  const Continuation next = continuation_of(byte);
  if (next.needed == 0) {
    out += static_cast<char>(byte);
  } else if (next.needed < 0) {
    out += kReplacement;
  } else {
    pending_.assign(1, static_cast<char>(byte));
    needed_ = next.needed;
    lowest_ = next.lowest;
    highest_ = next.highest;
  }
}

void Utf8Decoder::push(std::string_view bytes, std::string& out) {
  for (const char byte : bytes) {
    push_byte(static_cast<unsigned char>(byte), out);
  }
}

void Utf8Decoder::finish(std::string& out) {
  if (needed_ > 0) {
    out += kReplacement;
  }
  pending_.clear();
  needed_ = 0;
}

size_t find_invalid_utf8(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    const Continuation next = continuation_of(static_cast<unsigned char>(text[at]));
    if (next.needed < 0 || text.size() - at <= static_cast<size_t>(next.needed)) {
      return at;
    }
    for (int i = 1; i <= next.needed; ++i) {
      const auto byte = static_cast<unsigned char>(text[at + static_cast<size_t>(i)]);
      const unsigned char lowest = i == 1 ? next.lowest : 0x80;
      const unsigned char highest = i == 1 ? next.highest : 0xBF;
      if (byte < lowest || byte > highest) {
        return at;
      }
    }
    at += static_cast<size_t>(next.needed) + 1;
  }
  return std::string_view::npos;
}

char32_t next_code_point(std::string_view text, size_t& at) {
  const auto lead = static_cast<unsigned char>(text[at]);
  const int needed = continuation_of(lead).needed;
  char32_t code_point = lead;
  if (needed > 0) {
    code_point = lead & (0x3Fu >> needed);
  }
  ++at;
  for (int i = 0; i < needed && at < text.size(); ++i, ++at) {
    code_point = (code_point << 6) | (static_cast<unsigned char>(text[at]) & 0x3Fu);
  }
  return code_point;
}

void append_code_point(std::string& out, char32_t code_point) {
  if (code_point < 0x80) {
    out += static_cast<char>(code_point);
    return;
  }
  int further = code_point < 0x800 ? 1 : code_point < 0x10000 ? 2 : 3;
  const char32_t prefix = further == 1 ? 0xC0 : further == 2 ? 0xE0 : 0xF0;
  out += static_cast<char>(prefix | (code_point >> (6 * further)));
  while (further-- > 0) {
    out += static_cast<char>(0x80 | ((code_point >> (6 * further)) & 0x3F));
  }
}

}  // namespace candela
