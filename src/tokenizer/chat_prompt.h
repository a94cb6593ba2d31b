#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tokenizer/chat_template.h"
#include "tokenizer/tokenizer.h"

namespace candela {

/// A rendered conversation and its token ids.
struct ChatPrompt {
  std::string rendered;
  std::vector<uint32_t> ids;
};

/// Renders and encodes a conversation. The template's own special tokens always become tokens.
///
/// With `contents` = No, the spelling of a token inside messages and tools stays ordinary
/// characters, so that nobody can write a turn of someone else: before rendering, a character that
/// occurs nowhere else is put into every place of the conversation where a token's spelling could
/// begin; encoding looks for tokens first and then drops it. Assistant messages keep tokens that
/// are not special (`<think>`): they are the model's own words, and templates look for them.
/// With Yes everything is parsed, as the reference does.
///
/// Throws what ChatTemplate::render and Tokenizer::encode throw.
ChatPrompt encode_chat(const Tokenizer& tokenizer,
                       const ChatTemplate& chat_template,
                       const ChatInput& input,
                       ParseSpecial contents);

}  // namespace candela
