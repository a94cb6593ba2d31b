#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/model_files.h"
#include "models/text/decoder.h"

namespace candela::models {

/// What the engine drives: a text decoder, and what else of the checkpoint was found.
struct Model {
  std::string architecture;
  TextDecoder text;
  /// Parts of the checkpoint that are present and valid but not used: "audio_tower (525 tensors)".
  std::vector<std::string> unused_parts;
};

/// One supported architecture: how its text config and its weights are read.
struct Architecture {
  const char* name;  ///< config.json's "architectures"[0], or "gguf:llama"
  TextConfig (*text_config)(const ModelFiles& files);
  std::unique_ptr<Model> (*load)(const ModelFiles& files, const Weights& weights);
  /// Prefixes of tensors that are checked but not loaded.
  std::span<const std::string_view> unused_prefixes = {};
};

/// All supported architectures: the table in registry.cpp.
std::span<const Architecture> architectures();
/// @throws Unsupported naming the architecture and those that are known
const Architecture& find_architecture(const ModelFiles& files);

/// Bytes of the tensors that load_model puts on the device.
uint64_t loaded_bytes(const ModelFiles& files);

/// Loads the model onto the device. A missing, unknown or misshapen tensor is an error.
std::unique_ptr<Model> load_model(const ModelFiles& files,
                                  const Device& device,
                                  LoadProgress progress = {});
/// The same shapes with random weights made on the device; needs the config only.
std::unique_ptr<Model> make_synthetic_model(const ModelFiles& files,
                                            const Device& device,
                                            uint64_t seed);

}  // namespace candela::models
