#include "tokenizer/tokenizer_source.h"

#include <fmt/format.h>

#include <charconv>
#include <string_view>
#include <unordered_set>

#include "base/error.h"
#include "tokenizer/split_rules.h"
#include "tokenizer/text_file.h"
#include "tokenizer/utf8.h"

namespace candela {

namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr size_t kMaxFile = size_t{256} << 20;
constexpr size_t kMaxConfig = size_t{32} << 20;

/// A member of a tokenizer_config.json, or `otherwise` where it is absent or null. Throws
/// CorruptData if it is of another type.
template <typename T>
T member_or(const json& config, const char* key, T otherwise, const std::string& name) {
  const auto found = config.find(key);
  if (found == config.end() || found->is_null()) {
    return otherwise;
  }
  try {
    return found->get<T>();
  } catch (const json::exception&) {
    fail(ErrorKind::CorruptData, Subject::Model,
         "\"{}\" in {} has the wrong type; download the file again.", key, name);
  }
}

/// The rule of a `tokenizer_class`.
SplitRule rule_of_class(const json& config, const std::string& name) {
  const auto type = member_or<std::string>(config, "tokenizer_class", "Qwen2Tokenizer", name);
  if (member_or(config, "add_prefix_space", false, name)) {
    fail(ErrorKind::Unsupported, Subject::Model,
         "{} asks for \"add_prefix_space\", which candela does not support; use a model with a "
         "tokenizer.json.",
         name);
  }
  if (type == "Qwen2Tokenizer" || type == "Qwen2TokenizerFast") {
    return split_rule("qwen2");
  }
  if (type == "GPT2Tokenizer" || type == "GPT2TokenizerFast") {
    return split_rule("gpt-2");
  }
  fail(
      ErrorKind::Unsupported, Subject::Model,
      "{} names the tokenizer class {}, which candela cannot build from vocab.json and merges.txt; "
      "add the model's tokenizer.json.",
      name, type);
}

/// The "left right" lines as JSON pairs.
json merge_pair(std::string_view line, const std::string& name, size_t number) {
  const size_t space = line.find(' ');
  if (space == std::string_view::npos || space == 0 || space + 1 == line.size() ||
      line.find(' ', space + 1) != std::string_view::npos ||
      find_invalid_utf8(line) != std::string_view::npos) {
    fail(ErrorKind::CorruptData, Subject::Model,
         "Merge {} of {} is not a pair of two tokens with a space between them; download it again.",
         number, name);
  }
  return json::array({line.substr(0, space), line.substr(space + 1)});
}

json merges_of_text(std::string_view text, const std::string& name) {
  json merges = json::array();
  for (size_t number = 1; !text.empty(); ++number) {
    const size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (!line.empty() && line.back() == '\r') {
      line.remove_suffix(1);
    }
    if (line.empty() || (number == 1 && line.starts_with("#version"))) {
      continue;
    }
    merges.push_back(merge_pair(line, name, number));
  }
  return merges;
}

/// A tokenizer.json with the vocabulary given as JSON text, which is not parsed here.
std::string compose(const SplitRule& rule, std::string_view vocab, const json& merges) {
  const json decoder = {{"type", "ByteLevel"},
                        {"add_prefix_space", false},
                        {"trim_offsets", false},
                        {"use_regex", false}};
  return fmt::format(
      R"({{"version":"1.0","truncation":null,"padding":null,"added_tokens":[],"normalizer":{},)"
      R"("pre_tokenizer":{},"post_processor":null,"decoder":{},"model":{{"type":"BPE",)"
      R"("dropout":null,"unk_token":null,"continuing_subword_prefix":"","end_of_word_suffix":"",)"
      R"("fuse_unk":false,"byte_fallback":false,"ignore_merges":{},"vocab":{},"merges":{}}}}})",
      rule.normalizer.dump(), rule.pre_tokenizer.dump(), decoder.dump(), rule.ignore_merges, vocab,
      merges.dump());
}

uint32_t added_id(const std::string& key, const std::string& name) {
  uint32_t id = 0;
  const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
  if (error != std::errc() || end != key.data() + key.size()) {
    fail(ErrorKind::CorruptData, Subject::Model,
         "{} lists the added token id \"{}\", which is not a number; download it again.", name,
         key);
  }
  return id;
}

/// "added_tokens_decoder" of a tokenizer_config.json in the form of a tokenizer.json's list.
json added_of_config(const json& config, const std::string& name) {
  json added = json::array();
  const auto list = config.find("added_tokens_decoder");
  if (list == config.end() || list->is_null()) {
    return added;
  }
  if (!list->is_object()) {
    fail(ErrorKind::CorruptData, Subject::Model,
         "\"added_tokens_decoder\" in {} is not an object; download it again.", name);
  }
  for (const auto& [key, entry] : list->items()) {
    if (!entry.is_object()) {
      fail(ErrorKind::CorruptData, Subject::Model,
           "The added token {} in {} is not an object; download it again.", key, name);
    }
    json token = entry;
    token["id"] = added_id(key, name);
    added.push_back(std::move(token));
  }
  return added;
}

/// Checks vocab.json before its text goes on: an object of distinct numbers is all the crate reads.
void check_vocab(const json& vocab, const std::string& name) {
  for (const auto& [token, id] : vocab.items()) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() > UINT32_MAX) {
      fail(ErrorKind::CorruptData, Subject::Model,
           "The token \"{}\" in {} has no usable id; download it again.", token, name);
    }
  }
}

enum TokenType { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4 };

/// Vocabulary text and added tokens of GGUF metadata.
std::pair<std::string, json> gguf_vocabulary(const GgufTokenizerSpec& spec) {
  json added = json::array();
  std::unordered_set<std::string_view> seen;
  std::string vocab = "{";
  for (size_t id = 0; id < spec.tokens.size(); ++id) {
    const std::string& token = spec.tokens[id];
    if (find_invalid_utf8(token) != std::string_view::npos) {
      fail(ErrorKind::CorruptData, Subject::Model,
           "Token {} of the GGUF file is not valid UTF-8; download the file again.", id);
    }
    if (!seen.insert(token).second) {
      fail(ErrorKind::CorruptData, Subject::Model,
           "Token {} of the GGUF file, \"{}\", occurs twice; download the file again.", id, token);
    }
    vocab += fmt::format("{}{}:{}", id == 0 ? "" : ",", json(token).dump(), id);
    const int32_t type = spec.token_types.empty() ? kNormal : spec.token_types[id];
    if (type == kUnknown || type == kControl || type == kUserDefined) {
      added.push_back({{"id", id}, {"content", token}, {"special", type != kUserDefined}});
    }
  }
  return {vocab + "}", std::move(added)};
}

void add_role(json& roles,
              const char* role,
              const GgufTokenizerSpec& spec,
              std::optional<uint32_t> id) {
  if (!id) {
    return;
  }
  if (*id >= spec.tokens.size()) {
    fail(ErrorKind::CorruptData, Subject::Model,
         "The GGUF file gives its {} the id {}, but has {} tokens; download the file again.", role,
         *id, spec.tokens.size());
  }
  roles[role] = spec.tokens[*id];
}

}  // namespace

json token_roles(const json& config) {
  json roles = json::object();
  for (const auto& [key, value] : config.items()) {
    if (!key.ends_with("_token") || key.starts_with("add_")) {
      continue;
    }
    if (value.is_string()) {
      roles[key] = value;
    } else if (value.is_object() && value.contains("content") && value["content"].is_string()) {
      roles[key] = value["content"];
    }
  }
  return roles;
}

TokenizerSource source_from_folder(const fs::path& folder) {
  TokenizerSource source;
  const fs::path config_path = folder / "tokenizer_config.json";
  const fs::path tokenizer_path = folder / "tokenizer.json";
  json config = json::object();
  if (fs::exists(config_path)) {
    config = read_model_json(config_path, kMaxConfig);
  }
  source.added = added_of_config(config, config_path.string()).dump();
  source.roles = token_roles(config);
  source.add_bos = member_or(config, "add_bos_token", false, config_path.string());
  if (fs::exists(tokenizer_path)) {
    source.name = tokenizer_path.string();
    source.json = read_model_text(tokenizer_path, kMaxFile);
    return source;
  }
  const fs::path vocab_path = folder / "vocab.json";
  const fs::path merges_path = folder / "merges.txt";
  if (!fs::exists(vocab_path) || !fs::exists(merges_path) || !fs::exists(config_path)) {
    fail(ErrorKind::NotFound, Subject::Model,
         "The folder {} holds no tokenizer; it needs tokenizer.json, or vocab.json with merges.txt "
         "and tokenizer_config.json.",
         folder.string());
  }
  source.name = vocab_path.string();
  const std::string vocab = read_model_text(vocab_path, kMaxFile);
  check_vocab(parse_model_json(vocab, vocab_path.string()), vocab_path.string());
  const json merges = merges_of_text(read_model_text(merges_path, kMaxFile), merges_path.string());
  source.json = compose(rule_of_class(config, config_path.string()), vocab, merges);
  return source;
}

TokenizerSource source_from_gguf(const GgufTokenizerSpec& spec) {
  if (spec.model != "gpt2") {
    fail(ErrorKind::Unsupported, Subject::Model,
         "The GGUF file has a tokenizer of the model \"{}\"; candela supports gpt2.", spec.model);
  }
  if (spec.add_space_prefix) {
    fail(ErrorKind::Unsupported, Subject::Model,
         "The GGUF file asks for a space before every text (add_space_prefix), which candela does "
         "not support for byte-level tokenizers.");
  }
  if (spec.tokens.empty() ||
      (!spec.token_types.empty() && spec.token_types.size() != spec.tokens.size())) {
    fail(ErrorKind::CorruptData, Subject::Model,
         "The GGUF file has {} tokens and {} token types; download the file again.",
         spec.tokens.size(), spec.token_types.size());
  }
  TokenizerSource source;
  source.name = "of the GGUF file";
  source.add_bos = spec.add_bos;
  add_role(source.roles, "bos_token", spec, spec.bos_id);
  add_role(source.roles, "eos_token", spec, spec.eos_id);
  add_role(source.roles, "eot_token", spec, spec.eot_id);
  add_role(source.roles, "unk_token", spec, spec.unknown_id);
  add_role(source.roles, "pad_token", spec, spec.padding_id);
  const SplitRule rule = split_rule(spec.pre.empty() ? "default" : spec.pre);
  const auto [vocab, added] = gguf_vocabulary(spec);
  json merges = json::array();
  for (size_t i = 0; i < spec.merges.size(); ++i) {
    merges.push_back(merge_pair(spec.merges[i], "the GGUF file", i + 1));
  }
  source.json = compose(rule, vocab, merges);
  source.added = added.dump();
  return source;
}

}  // namespace candela
