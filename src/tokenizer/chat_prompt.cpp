#include "tokenizer/chat_prompt.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "tokenizer/utf8.h"

namespace candela {

namespace {

using nlohmann::ordered_json;

bool is_space(char32_t c) {
  return c == ' ' || (c >= '\t' && c <= '\r') || c == 0xA0;
}

/// The character of a token's spelling behind which a mark breaks it: the first that is neither
/// white space (templates strip it) nor the last one. Zero if there is none: a token of one
/// character is that character, in messages too.
char32_t break_character(std::string_view token) {
  for (size_t at = 0; at < token.size();) {
    const char32_t c = next_code_point(token, at);
    if (at < token.size() && !is_space(c)) {
      return c;
    }
  }
  return 0;
}

/// Names as templates compare them ("user", "image_url"); no token is spelled like that.
bool is_plain_name(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
  });
}

/// Puts marks into the texts of a conversation.
class Marker {
 public:
  Marker(const Tokenizer& tokenizer, char32_t mark) : tokens_(tokenizer.added_tokens()) {
    append_code_point(mark_, mark);
    for (const AddedToken& token : tokens_) {
      if (const char32_t c = break_character(token.text)) {
        breaks_.insert(c);
      }
    }
  }

  /// A copy of `value` with marks in all its texts, and in keys that are no plain names.
  ordered_json mark_value(const ordered_json& value, bool keep_plain_tokens) const {
    if (value.is_string()) {
      return mark_text(value.get_ref<const std::string&>(), keep_plain_tokens);
    }
    ordered_json copy = value;
    if (value.is_array()) {
      for (auto& item : copy) {
        item = mark_value(item, keep_plain_tokens);
      }
    } else if (value.is_object()) {
      copy = ordered_json::object();
      for (const auto& [key, member] : value.items()) {
        const bool name = (key == "role" || key == "type") && member.is_string() &&
                          is_plain_name(member.get_ref<const std::string&>());
        copy[is_plain_name(key) ? key : mark_text(key, false)] =
            name ? member : mark_value(member, keep_plain_tokens);
      }
    }
    return copy;
  }

 private:
  /// The longest token spelled at `at` is not special.
  bool plain_token_at(std::string_view text, size_t at) const {
    const AddedToken* longest = nullptr;
    for (const AddedToken& token : tokens_) {
      if (text.substr(at).starts_with(token.text) &&
          (longest == nullptr || token.text.size() > longest->text.size())) {
        longest = &token;
      }
    }
    return longest != nullptr && !longest->special;
  }

  std::string mark_text(std::string_view text, bool keep_plain_tokens) const {
    std::string marked;
    for (size_t at = 0; at < text.size();) {
      const size_t start = at;
      const char32_t c = next_code_point(text, at);
      marked += text.substr(start, at - start);
      if (breaks_.contains(c) && !(keep_plain_tokens && plain_token_at(text, start))) {
        marked += mark_;
      }
    }
    return marked;
  }

  std::span<const AddedToken> tokens_;
  std::string mark_;
  std::set<char32_t> breaks_;
};

/// A character that occurs nowhere in the template or the conversation: first the code points that
/// Unicode keeps for such use, then private ones.
char32_t unused_character(const std::string& all_text) {
  for (char32_t c = 0xFDD0; c < 0x10FFFE; c = c == 0xFDEF ? 0xF0000 : c + 1) {
    std::string utf8;
    append_code_point(utf8, c);
    if (all_text.find(utf8) == std::string::npos) {
      return c;
    }
    if (c > 0xF0100) {
      break;
    }
  }
  fail(
      ErrorKind::InvalidArgument, Subject::Input,
      "The conversation holds every private character of Unicode, so that special tokens cannot be "
      "told from text; remove some.");
}

std::string without(std::string_view text, char32_t mark) {
  std::string mark_text;
  append_code_point(mark_text, mark);
  std::string clean;
  while (!text.empty()) {
    const size_t end = text.find(mark_text);
    clean += text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + mark_text.size());
  }
  return clean;
}

}  // namespace

ChatPrompt encode_chat(const Tokenizer& tokenizer,
                       const ChatTemplate& chat_template,
                       const ChatInput& input,
                       ParseSpecial contents) {
  if (contents == ParseSpecial::Yes) {
    std::string rendered = chat_template.render(input);
    std::vector<uint32_t> ids = tokenizer.encode(rendered, ParseSpecial::Yes);
    return {std::move(rendered), std::move(ids)};
  }
  check_chat_input(input);
  const char32_t mark = unused_character(chat_template.source() + input.messages.dump() +
                                         input.tools.dump() + input.variables.dump());
  const Marker marker(tokenizer, mark);
  ChatInput marked = input;
  for (auto& message : marked.messages) {
    message = marker.mark_value(message, message["role"] == "assistant");
  }
  marked.tools = marker.mark_value(input.tools, false);
  const std::string rendered = chat_template.render(marked);
  return {without(rendered, mark), tokenizer.encode_marked(rendered, mark)};
}

}  // namespace candela
