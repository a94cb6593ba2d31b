#include <algorithm>

#include "base/error.h"
#include "models/model.h"
#include "models/qwen3_omni/thinker.h"
#include "models/text/architectures.h"

namespace candela::models {

namespace {

constexpr Architecture kArchitectures[] = {
    {"Qwen3OmniMoeForConditionalGeneration", thinker_text_config, load_thinker, kThinkerUnused},
    {"Qwen3MoeForCausalLM", qwen3_moe_config, load_qwen3_moe},
    {"Qwen3ForCausalLM", qwen3_config, load_qwen3},
    {"LlamaForCausalLM", llama_config, load_llama},
    {"gguf:llama", gguf_llama_config, load_gguf_llama},
};

/// Every tensor of the files must have been used or knowingly left aside.
void reject_unknown(const Weights& weights) {
  const std::vector<std::string> unread = weights.unread();
  if (!unread.empty()) {
    fail(ErrorKind::CorruptData, Subject::Model,
         "{} holds {} tensors that this architecture does not have, the first is {}.",
         weights.source().path(), unread.size(), unread.front());
  }
}

}  // namespace

std::span<const Architecture> architectures() {
  return kArchitectures;
}

const Architecture& find_architecture(const ModelFiles& files) {
  const std::string name = (files.gguf ? "gguf:" : "") + files.architecture;
  std::string known;
  for (const Architecture& architecture : kArchitectures) {
    if (name == architecture.name) {
      return architecture;
    }
    known += (known.empty() ? "" : ", ") + std::string(architecture.name);
  }
  fail(ErrorKind::Unsupported, Subject::Model, "{} has architecture {}; candela has {}.",
       files.path, name, known);
}

uint64_t loaded_bytes(const ModelFiles& files) {
  const auto& unused = find_architecture(files).unused_prefixes;
  uint64_t total = 0;
  for (const WeightInfo& tensor : files.weights->tensors()) {
    const bool skipped = std::ranges::any_of(
        unused, [&](std::string_view prefix) { return tensor.name.starts_with(prefix); });
    total += skipped ? 0 : tensor.bytes.size();
  }
  return total;
}

std::unique_ptr<Model> load_model(const ModelFiles& files,
                                  const Device& device,
                                  LoadProgress progress) {
  const Architecture& architecture = find_architecture(files);
  return with_context([&] { return fmt::format("loading {} onto {}", files.path, device.name()); },
                      [&] {
                        const Weights weights(files.weights, device);
                        if (progress) {
                          weights.on_progress(loaded_bytes(files), std::move(progress));
                        }
                        std::unique_ptr<Model> model = architecture.load(files, weights);
                        reject_unknown(weights);
                        device.synchronize();
                        return model;
                      });
}

std::unique_ptr<Model> make_synthetic_model(const ModelFiles& files,
                                            const Device& device,
                                            uint64_t seed) {
  std::unique_ptr<Model> model =
      find_architecture(files).load(files, Weights::synthetic(device, seed));
  device.synchronize();
  return model;
}

}  // namespace candela::models
