#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace candela {

/// Turns bytes that arrive in pieces into valid UTF-8. Bytes that begin a character are held back
/// until it is complete; each maximal invalid sequence becomes one U+FFFD, as the WHATWG encoding
/// standard prescribes.
class Utf8Decoder {
 public:
  /// Appends what is decided by now to `out`.
  void push(std::string_view bytes, std::string& out);

  /// Appends U+FFFD for a character that stayed incomplete and starts anew.
  void finish(std::string& out);

 private:
  void push_byte(unsigned char byte, std::string& out);

  std::string pending_;
  int needed_ = 0;
  unsigned char lowest_ = 0x80;
  unsigned char highest_ = 0xBF;
};

/// The first position that is not valid UTF-8, or npos.
size_t find_invalid_utf8(std::string_view text);

/// The code point that starts at `at`, which moves behind it. `text` is valid UTF-8.
char32_t next_code_point(std::string_view text, size_t& at);

/// Appends the UTF-8 form of a code point.
void append_code_point(std::string& out, char32_t code_point);

}  // namespace candela
