#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/budget.h"
#include "engine/generate.h"
#include "tokenizer/chat_prompt.h"
#include "tokenizer/stream_decoder.h"

namespace candela::engine {

struct EngineOptions {
  DType kv_type = DType::BF16;
  int64_t context = 0;  ///< positions of all sequences together; 0: the model's own limit
  int64_t prefill_chunk = 2048;
  std::string chat_template_file = {};  ///< instead of the model's own; empty: the model's own
  LoadProgress progress = {};
};

/// One turn of text for a person: pieces of whole characters, in order. Returning false stops.
using TextSink = std::function<bool(size_t request, const std::string& piece)>;

/// What `Engine::answer` gives back for one request.
struct TextAnswer {
  std::vector<uint32_t> ids;
  std::string text;
  FinishReason reason = FinishReason::Length;
};
struct TextGeneration {
  std::vector<TextAnswer> answers;
  Stats stats;
};

/// A loaded model with its tokenizer, template and cache: text in, text out.
class Engine {
 public:
  /// Loads MODEL (see find_model) onto the device.
  Engine(const std::string& model, const Device& device, EngineOptions options = {});
  ~Engine();

  const models::ModelFiles& files() const { return files_; }
  models::Model& model() { return *model_; }
  nn::KvCache& cache() { return *cache_; }
  const Tokenizer& tokenizer() const { return *tokenizer_; }
  const MemoryPlan& plan() const { return plan_; }
  double load_seconds() const { return load_seconds_; }

  /// Ids of a conversation. `contents`: whether special tokens spelled inside messages are parsed.
  /// A model without a template takes the last message's text as it is, and only that.
  ChatPrompt encode(const ChatInput& input, ParseSpecial contents) const;
  /// Ids of raw text, with the beginning token where the tokenizer asks for it.
  std::vector<uint32_t> encode_raw(const std::string& text, ParseSpecial parse) const;

  /// A request with the model's generation_config.json applied: sampling and stop ids.
  Request make_request(std::vector<uint32_t> ids) const;

  /// Continues the requests; text of special tokens is left out, stop strings are cut off.
  TextGeneration answer(std::span<const Request> requests, const TextSink& sink = {});

 private:
  models::ModelFiles files_;
  EngineOptions options_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::optional<ChatTemplate> template_;
  std::unique_ptr<models::Model> model_;
  std::unique_ptr<nn::KvCache> cache_;
  MemoryPlan plan_;
  double load_seconds_ = 0.0;
};

/// Tokenizer and template of a model folder or GGUF file, without its weights being loaded.
std::unique_ptr<Tokenizer> load_tokenizer(const std::string& path, const GgufFile* gguf);
std::optional<ChatTemplate> load_chat_template(const std::string& path, const GgufFile* gguf);

}  // namespace candela::engine
