#include "models/model_files.h"

#include <filesystem>

#include "base/error.h"

namespace candela::models {

namespace fs = std::filesystem;

ConfigReader ModelFiles::config_reader() const {
  const bool lone_file = path.ends_with(".json");
  return ConfigReader(config, lone_file ? path : (fs::path(path) / "config.json").string());
}

namespace {

std::string read_architecture(const ModelFiles& files) {
  const ConfigReader reader = files.config_reader();  // the config is an object from here on
  const auto names = files.config.find("architectures");
  if (names == files.config.end() || !names->is_array() || names->empty() ||
      !(*names)[0].is_string()) {
    reader.reject("names no architecture under \"architectures\"");
  }
  return (*names)[0].get<std::string>();
}

}  // namespace

ModelFiles open_config(const std::string& path) {
  ModelFiles files;
  files.path = path;
  if (!fs::is_directory(path)) {
    files.config = read_json(path);
  } else {
    files.config = read_json((fs::path(path) / "config.json").string());
    const fs::path generation = fs::path(path) / "generation_config.json";
    if (fs::exists(generation)) {
      files.generation_config = read_json(generation.string());
    }
  }
  files.architecture = read_architecture(files);
  return files;
}

ModelFiles open_model(const std::string& path) {
  std::error_code ignored;
  if (!fs::exists(path, ignored)) {
    fail(ErrorKind::NotFound, Subject::Model, "There is no model at {}.", path);
  }
  std::shared_ptr<const WeightSource> weights;
  if (!fs::is_directory(path) || !fs::exists(fs::path(path) / "config.json")) {
    weights = open_weights(path);
    auto gguf = std::dynamic_pointer_cast<const GgufFile>(weights);
    if (!gguf) {
      fail(ErrorKind::NotFound, Subject::Model,
           "{} is no model: a folder with config.json or a .gguf file is expected.", path);
    }
    ModelFiles files;
    files.path = path;
    files.architecture = gguf->metadata().get_string("general.architecture");
    files.weights = weights;
    files.gguf = std::move(gguf);
    return files;
  }
  ModelFiles files = open_config(path);
  files.weights = open_weights(path);
  return files;
}

}  // namespace candela::models
