#include "tokenizer/split_rules.h"

#include "base/error.h"

namespace candela {

namespace {

using nlohmann::json;

constexpr const char* kQwenPattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
    R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";

constexpr const char* kLlamaPattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
    R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";

constexpr const char* kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S))";

json split_by(const char* pattern) {
  return {{"type", "Split"},
          {"pattern", {{"Regex", pattern}}},
          {"behavior", "Isolated"},
          {"invert", false}};
}

json to_bytes(bool gpt2_split) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", false},
          {"trim_offsets", false},
          {"use_regex", gpt2_split}};
}

json sequence(json steps) {
  return {{"type", "Sequence"}, {"pretokenizers", std::move(steps)}};
}

}  // namespace

SplitRule split_rule(std::string_view name) {
  if (name == "qwen2") {
    return {{{"type", "NFC"}}, sequence(json::array({split_by(kQwenPattern), to_bytes(false)}))};
  }
  if (name == "smollm") {
    const json digits = {{"type", "Digits"}, {"individual_digits", true}};
    return {nullptr, sequence(json::array({digits, to_bytes(true)}))};
  }
  if (name == "llama-bpe") {
    return {nullptr, sequence(json::array({split_by(kLlamaPattern), to_bytes(false)})), true};
  }
  if (name == "gpt-2") {
    return {nullptr, to_bytes(true)};
  }
  if (name == "default") {
    return {nullptr, sequence(json::array({split_by(R"([\p{P}\$\+<=>\^~\|]+)"),
                                           split_by(kGpt2Pattern), split_by(R"(\p{N}+)"),
                                           split_by("[0-9][0-9][0-9]"), to_bytes(false)}))};
  }
  fail(
      ErrorKind::Unsupported, Subject::Model,
      "The tokenizer splits text by the rule \"{}\", which candela does not know; it knows smollm, "
      "qwen2, llama-bpe, gpt-2 and default.",
      name);
}

}  // namespace candela
