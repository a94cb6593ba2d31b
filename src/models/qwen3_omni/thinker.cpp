#include "models/qwen3_omni/thinker.h"

#include "base/error.h"
#include "models/qwen3_omni/inventory.h"

namespace candela::models {

namespace {

/// An optional part is either wholly absent or whole and of the right shapes.
void check_optional_part(const Part& part,
                         const ModelFiles& files,
                         const Weights& weights,
                         Model& model) {
  const PartState state = compare_part(part, *files.weights);
  if (state.present == 0) {
    return;
  }
  if (!state.missing.empty() || !state.misshapen.empty()) {
    const std::string& what =
        state.misshapen.empty() ? state.missing.front() : state.misshapen.front();
    fail(
        ErrorKind::CorruptData, Subject::Model,
        "The {} of {} is incomplete or wrong: {} of {} tensors are missing, {} have another shape, "
        "the first is {}.",
        part.name, files.path, state.missing.size(), part.tensors.size(), state.misshapen.size(),
        what);
  }
  for (const ExpectedTensor& tensor : part.tensors) {
    weights.ignore(tensor.name);
  }
  model.unused_parts.push_back(fmt::format("{} ({} tensors)", part.name, part.tensors.size()));
}

}  // namespace

TextConfig thinker_text_config(const ModelFiles& files) {
  TextConfig config = TextConfig::from_json(
      files.config_reader().child("thinker_config").child("text_config"), true);
  config.qk_norm = true;
  return config;
}

std::unique_ptr<Model> load_thinker(const ModelFiles& files, const Weights& weights) {
  const Weights thinker = weights.pp("thinker");
  auto model = std::make_unique<Model>(
      Model{files.architecture,
            TextDecoder(thinker_text_config(files), thinker.pp("model"), thinker.pp("lm_head")),
            {}});
  if (files.weights) {
    for (const Part& part : omni_parts(files)) {
      if (!part.required) {
        check_optional_part(part, files, weights, *model);
      }
    }
  }
  return model;
}

}  // namespace candela::models
