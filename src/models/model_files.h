#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "models/config_reader.h"
#include "weights/gguf.h"
#include "weights/weights.h"

namespace candela::models {

/// The files of one checkpoint, opened and validated, nothing loaded yet.
struct ModelFiles {
  std::string path;          ///< folder, or the .gguf file
  std::string architecture;  ///< "Qwen3MoeForCausalLM" from config.json, or GGUF's "llama"
  nlohmann::ordered_json config = nlohmann::ordered_json::object();
  nlohmann::ordered_json generation_config = nlohmann::ordered_json::object();
  std::shared_ptr<const WeightSource> weights;
  std::shared_ptr<const GgufFile> gguf;  ///< the same file as `weights`; null for safetensors

  /// Reader for messages "`path`/config.json ...".
  ConfigReader config_reader() const;
};

/// Opens a model folder (config.json, weights) or a GGUF file.
/// @throws NotFound, CorruptData, Io naming the file
ModelFiles open_model(const std::string& path);
/// Only config.json and generation_config.json of a folder, or a lone config file.
ModelFiles open_config(const std::string& path);

}  // namespace candela::models
