#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/tokenizer_source.h"

namespace candela {

/// Whether the spelling of an added token (`<|im_end|>`, `<think>`) in a text becomes that token.
/// With No it is ordinary characters, which is what text from outside has to be.
enum class ParseSpecial { No, Yes };

/// Whether decoding leaves out tokens flagged as special.
enum class SkipSpecial { No, Yes };

/// A token outside the merges.
struct AddedToken {
  uint32_t id;
  std::string text;
  bool special;
};

/// Byte-level BPE: text to token ids and back. Cheap to move, safe to use from several threads.
class Tokenizer {
 public:
  /// From a model folder with tokenizer.json, or vocab.json, merges.txt and tokenizer_config.json.
  /// Throws NotFound, CorruptData or Unsupported about the model.
  static Tokenizer from_folder(const std::filesystem::path& folder);

  /// From a GGUF file's metadata. Throws CorruptData or Unsupported about the model.
  static Tokenizer from_gguf_metadata(const GgufTokenizerSpec& spec);

  explicit Tokenizer(const TokenizerSource& source);
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  /// Ids of UTF-8 text, without beginning or end tokens. Throws InvalidArgument about the input if
  /// the text is not UTF-8.
  std::vector<uint32_t> encode(std::string_view text, ParseSpecial parse) const;

  /// As encode with ParseSpecial::Yes, but the character `mark` inside a token's spelling keeps it
  /// from becoming the token; all marks are then dropped. See encode_chat.
  std::vector<uint32_t> encode_marked(std::string_view text, char32_t mark) const;

  /// Text of ids as valid UTF-8; bytes that form no character become U+FFFD. Ids without a token
  /// decode to nothing.
  std::string decode(std::span<const uint32_t> ids, SkipSpecial skip) const;

  /// The bytes a token stands for; empty for ids without a token.
  std::string_view bytes_of(uint32_t id) const;

  /// The token as the vocabulary spells it (in the byte alphabet).
  std::optional<std::string_view> id_to_token(uint32_t id) const;
  std::optional<uint32_t> token_to_id(std::string_view token) const;

  /// One more than the largest id. A model's embedding may have more rows.
  uint32_t vocab_size() const;
  bool is_special(uint32_t id) const;
  std::span<const AddedToken> added_tokens() const;

  /// Ids that end an answer according to the tokenizer's own files (eos, GGUF's end of turn); a
  /// generation_config.json may name others.
  std::span<const uint32_t> eos_ids() const;
  std::optional<uint32_t> bos_id() const;

  /// The files ask for `bos_id` before every prompt; encode never adds it.
  bool adds_bos() const;

  /// Texts of the tokens with a role, for chat templates: {"eos_token": "<|im_end|>", ...}.
  const nlohmann::json& roles() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace candela
