#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

namespace candela {

/// How a byte-level BPE tokenizer prepares its text, in the form of the "normalizer" and
/// "pre_tokenizer" of a tokenizer.json.
struct SplitRule {
  nlohmann::json normalizer;
  nlohmann::json pre_tokenizer;
  /// Pieces that are in the vocabulary as a whole are not merged step by step.
  bool ignore_merges = false;
};

/// The rule that GGUF files name in `tokenizer.ggml.pre`: smollm, qwen2, llama-bpe, gpt-2 or
/// default. Throws Unsupported for any other name.
SplitRule split_rule(std::string_view name);

}  // namespace candela
