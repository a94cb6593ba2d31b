#pragma once

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "tokenizer/tokenizer_source.h"

namespace candela {

/// A conversation as chat templates see it (the order of keys is kept, because tools are printed).
struct ChatInput {
  /// List of objects with "role" and "content" (a string or a list of items) and what else the
  /// template knows: "tool_calls", "reasoning_content", ...
  nlohmann::ordered_json messages = nlohmann::ordered_json::array();
  /// List of tool descriptions, or null.
  nlohmann::ordered_json tools = nullptr;
  /// Ends with the beginning of the assistant's answer.
  bool add_generation_prompt = true;
  /// Further variables, e.g. {"enable_thinking": false}.
  nlohmann::ordered_json variables = nlohmann::ordered_json::object();
};

/// A model's Jinja template. Templates are data of the model and not trusted: they cannot read
/// files or include others, and work and recursion are bounded.
class ChatTemplate {
 public:
  /// From chat_template.jinja, chat_template.json or tokenizer_config.json, the first that has one;
  /// none if no file has one. Throws CorruptData about the model.
  static std::optional<ChatTemplate> from_folder(const std::filesystem::path& folder);

  /// From a file that holds a template, or an object {"chat_template": ...} if it ends in .json.
  static ChatTemplate from_file(const std::filesystem::path& file);

  /// From a GGUF file's metadata; none if it has no template.
  static std::optional<ChatTemplate> from_gguf_metadata(const GgufTokenizerSpec& spec);

  /// `roles` holds what the template may call by name: {"bos_token": "<s>", ...}.
  ChatTemplate(std::string source, std::string name, nlohmann::json roles);
  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;
  ~ChatTemplate();

  /// The prompt as text. Throws InvalidArgument about the input if the conversation has no form a
  /// template can read or the template itself rejects it, CorruptData about the model if the
  /// template fails or runs too long.
  std::string render(const ChatInput& input) const;

  const std::string& source() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Throws InvalidArgument about the input unless messages, tools and variables have the form that
/// ChatInput describes, are valid UTF-8 and nested no deeper than a template can use.
void check_chat_input(const ChatInput& input);

}  // namespace candela
