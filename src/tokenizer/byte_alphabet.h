#pragma once

#include <string>
#include <string_view>

namespace candela {

/// The bytes a token of a byte-level vocabulary stands for: each of its characters is the printable
/// stand-in of one byte. A token with any other character (some added tokens) stands for its own
/// UTF-8 bytes. Source: GPT-2's byte-level BPE.
std::string bytes_of_token(std::string_view token);

}  // namespace candela
