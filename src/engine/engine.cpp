#include "engine/engine.h"

#include <filesystem>

#include "base/error.h"
#include "engine/find_model.h"
#include "engine/text_stream.h"

namespace candela::engine {

namespace {

GgufTokenizerSpec tokenizer_spec(const GgufFile& file) {
  const GgufMetadata& metadata = file.metadata();
  const auto text = [&](const char* key, std::string fallback) {
    return metadata.contains(key) ? std::string(metadata.get_string(key)) : std::move(fallback);
  };
  const auto id = [&](const char* key) -> std::optional<uint32_t> {
    if (!metadata.contains(key)) {
      return std::nullopt;
    }
    return static_cast<uint32_t>(metadata.get_u64(key));
  };
  const auto flag = [&](const char* key) {
    return metadata.contains(key) && metadata.get_bool(key);
  };
  const auto texts = [&](const char* key) {
    const auto& found = metadata.get_string_array(key);
    return std::vector<std::string>(found.begin(), found.end());
  };
  GgufTokenizerSpec spec;
  spec.model = metadata.get_string("tokenizer.ggml.model");
  spec.pre = text("tokenizer.ggml.pre", "default");
  spec.tokens = texts("tokenizer.ggml.tokens");
  spec.merges = texts("tokenizer.ggml.merges");
  if (metadata.contains("tokenizer.ggml.token_type")) {
    for (const int64_t type : metadata.get_i64_array("tokenizer.ggml.token_type")) {
      spec.token_types.push_back(static_cast<int32_t>(type));
    }
  }
  spec.bos_id = id("tokenizer.ggml.bos_token_id");
  spec.eos_id = id("tokenizer.ggml.eos_token_id");
  spec.eot_id = id("tokenizer.ggml.eot_token_id");
  spec.unknown_id = id("tokenizer.ggml.unknown_token_id");
  spec.padding_id = id("tokenizer.ggml.padding_token_id");
  spec.add_bos = flag("tokenizer.ggml.add_bos_token");
  spec.add_space_prefix = flag("tokenizer.ggml.add_space_prefix");
  spec.chat_template = text("tokenizer.chat_template", "");
  return spec;
}

/// Applies the model's own generation_config.json. Source: transformers GenerationConfig.
void apply_generation_config(const models::ModelFiles& files,
                             int64_t vocab_size,
                             Request& request) {
  const models::ConfigReader config(files.generation_config,
                                    files.path + "/generation_config.json");
  for (const int64_t id : config.integers_or_one("eos_token_id", 0, vocab_size - 1)) {
    request.stop_ids.push_back(static_cast<uint32_t>(id));
  }
  const auto number = [&](const char* key, double fallback, double high) {
    return static_cast<float>(config.number_or(key, fallback, 0.0, high));
  };
  nn::SamplingOptions& sampling = request.sampling;
  sampling.repetition_penalty = number("repetition_penalty", 1.0, 100.0);
  if (config.boolean_or("do_sample", false)) {
    sampling.temperature = number("temperature", 1.0, 100.0);
    sampling.top_k = config.integer_or("top_k", 0, 0, INT32_MAX);
    sampling.top_p = number("top_p", 1.0, 1.0);
    sampling.min_p = number("min_p", 0.0, 1.0);
  }
}

/// The only text of a conversation for a model that has no chat template.
std::string lone_text(const ChatInput& input) {
  if (input.messages.size() != 1 || !input.messages[0].at("content").is_string()) {
    fail(ErrorKind::Unsupported, Subject::Model,
         "The model has no chat template, so it takes one prompt of text and no conversation; give "
         "a template with --chat-template.");
  }
  return input.messages[0].at("content").get<std::string>();
}

}  // namespace

std::unique_ptr<Tokenizer> load_tokenizer(const std::string& path, const GgufFile* gguf) {
  return std::make_unique<Tokenizer>(gguf != nullptr
                                         ? Tokenizer::from_gguf_metadata(tokenizer_spec(*gguf))
                                         : Tokenizer::from_folder(path));
}

std::optional<ChatTemplate> load_chat_template(const std::string& path, const GgufFile* gguf) {
  return gguf != nullptr ? ChatTemplate::from_gguf_metadata(tokenizer_spec(*gguf))
                         : ChatTemplate::from_folder(path);
}

Engine::Engine(const std::string& model, const Device& device, EngineOptions options)
    : files_(models::open_model(find_model(model))), options_(std::move(options)) {
  const Stopwatch watch;
  const models::TextConfig config = models::find_architecture(files_).text_config(files_);
  tokenizer_ = load_tokenizer(files_.path, files_.gguf.get());
  template_ = options_.chat_template_file.empty()
                  ? load_chat_template(files_.path, files_.gguf.get())
                  : ChatTemplate::from_file(options_.chat_template_file);
  if (tokenizer_->vocab_size() > config.vocab_size) {
    fail(ErrorKind::CorruptData, Subject::Model,
         "The tokenizer of {} has {} tokens, the model's vocabulary only {}.", files_.path,
         tokenizer_->vocab_size(), config.vocab_size);
  }
  const int64_t positions = options_.context > 0 ? options_.context : config.max_positions;
  // Pages are taken by need; the plan counts a conversation of ordinary length.
  plan_ = plan_memory(config, models::loaded_bytes(files_), std::min<int64_t>(positions, 4096),
                      options_.kv_type, options_.prefill_chunk);
  model_ = models::load_model(files_, device, options_.progress);
  cache_ = std::make_unique<nn::KvCache>(model_->text.make_cache(options_.kv_type, positions));
  load_seconds_ = watch.seconds();
}

Engine::~Engine() = default;

ChatPrompt Engine::encode(const ChatInput& input, ParseSpecial contents) const {
  if (!template_) {
    const std::string text = lone_text(input);
    return {text, encode_raw(text, contents)};
  }
  return encode_chat(*tokenizer_, *template_, input, contents);
}

std::vector<uint32_t> Engine::encode_raw(const std::string& text, ParseSpecial parse) const {
  std::vector<uint32_t> ids = tokenizer_->encode(text, parse);
  const std::optional<uint32_t> bos = tokenizer_->bos_id();
  if (tokenizer_->adds_bos() && bos) {
    ids.insert(ids.begin(), *bos);
  }
  return ids;
}

Request Engine::make_request(std::vector<uint32_t> ids) const {
  Request request;
  request.ids = std::move(ids);
  const auto eos = tokenizer_->eos_ids();
  request.stop_ids.assign(eos.begin(), eos.end());
  apply_generation_config(files_, model_->text.config().vocab_size, request);
  return request;
}

TextGeneration Engine::answer(std::span<const Request> requests, const TextSink& sink) {
  TextGeneration out;
  out.answers.resize(requests.size());
  std::vector<TextStream> streams;
  streams.reserve(requests.size());
  for (const Request& request : requests) {
    streams.emplace_back(*tokenizer_, request.stop_strings);
  }
  const auto emit = [&](size_t index, const std::string& piece) {
    out.answers[index].text += piece;
    return piece.empty() || !sink || sink(index, piece);
  };
  Generation generation =
      generate(model_->text, *cache_, requests, {.prefill_chunk = options_.prefill_chunk},
               [&](size_t index, uint32_t id) {
                 return emit(index, streams[index].push(id)) && !streams[index].stopped();
               });
  for (size_t i = 0; i < requests.size(); ++i) {
    emit(i, streams[i].finish());
    out.answers[i].ids = std::move(generation.answers[i].ids);
    out.answers[i].reason =
        streams[i].stopped() ? FinishReason::Stop : generation.answers[i].reason;
  }
  out.stats = generation.stats;
  return out;
}

}  // namespace candela::engine
