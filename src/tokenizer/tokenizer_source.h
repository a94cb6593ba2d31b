#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace candela {

/// The tokenizer part of a GGUF file's metadata, key by key (`tokenizer.ggml.*`), so that this area
/// needs no GGUF reader.
struct GgufTokenizerSpec {
  std::string model;                ///< tokenizer.ggml.model; "gpt2" is supported
  std::string pre = "default";      ///< tokenizer.ggml.pre
  std::vector<std::string> tokens;  ///< index = id
  std::vector<int32_t>
      token_types;  ///< 1 normal, 2 unknown, 3 control, 4 user-defined; may be empty
  std::vector<std::string> merges;  ///< "left right", best first
  std::optional<uint32_t> bos_id;
  std::optional<uint32_t> eos_id;
  std::optional<uint32_t> eot_id;  ///< end of turn, where the file names one
  std::optional<uint32_t> unknown_id;
  std::optional<uint32_t> padding_id;
  bool add_bos = false;
  bool add_space_prefix = false;
  std::string chat_template;  ///< tokenizer.chat_template; may be empty
};

/// What a Tokenizer is made of: the text of a tokenizer.json, a JSON list of further added tokens,
/// and the names of the tokens with a role ("bos_token": "<s>").
struct TokenizerSource {
  std::string name;
  std::string json;
  std::string added = "[]";
  nlohmann::json roles = nlohmann::json::object();
  bool add_bos = false;
};

/// From a model folder: tokenizer.json, or vocab.json and merges.txt; tokenizer_config.json adds
/// the tokens that these files lack. Throws NotFound, CorruptData or Unsupported.
TokenizerSource source_from_folder(const std::filesystem::path& folder);

/// From GGUF metadata. Throws CorruptData or Unsupported.
TokenizerSource source_from_gguf(const GgufTokenizerSpec& spec);

/// The tokens with a role in a tokenizer_config.json, each as its text: bos_token, eos_token,
/// pad_token, unk_token and others whose key ends in "_token".
nlohmann::json token_roles(const nlohmann::json& config);

}  // namespace candela
