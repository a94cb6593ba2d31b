#include "tokenizer/byte_alphabet.h"

#include <array>
#include <cstdint>

#include "tokenizer/utf8.h"

namespace candela {

namespace {

bool stands_for_itself(unsigned byte) {
  return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
}

constexpr size_t kAlphabetEnd = 256 + 68;

/// Byte of each code point below kAlphabetEnd, or -1. The bytes that do not stand for themselves
/// take the code points from 256 on in ascending order.
std::array<int16_t, kAlphabetEnd> make_table() {
  std::array<int16_t, kAlphabetEnd> table;
  table.fill(-1);
  size_t next = 256;
  for (unsigned byte = 0; byte < 256; ++byte) {
    table[stands_for_itself(byte) ? byte : next++] = static_cast<int16_t>(byte);
  }
  return table;
}

}  // namespace

std::string bytes_of_token(std::string_view token) {
  static const std::array<int16_t, kAlphabetEnd> kTable = make_table();
  std::string bytes;
  for (size_t at = 0; at < token.size();) {
    const char32_t c = next_code_point(token, at);
    if (c >= kAlphabetEnd || kTable[c] < 0) {
      return std::string(token);
    }
    bytes += static_cast<char>(kTable[c]);
  }
  return bytes;
}

}  // namespace candela
