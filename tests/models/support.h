#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "base/error.h"
#include "models/model.h"
#include "weights/files.h"
#include "weights/writer.h"

namespace candela::models {

using nlohmann::ordered_json;

inline const std::string kGolden = CANDELA_GOLDEN_DIR;
inline const std::string kTinyOmni = CANDELA_TINY_OMNI_DIR;
inline const std::string kTinyQwen3 = kGolden + "/tiny_qwen3";
inline const std::string kTinyMoe = kGolden + "/tiny_qwen3_moe";

/// Files of a config that exists only in memory.
inline ModelFiles files_of(ordered_json config) {
  ModelFiles files;
  files.path = "model";
  files.architecture = config.at("architectures").at(0).get<std::string>();
  files.config = std::move(config);
  return files;
}

/// A checkpoint with changes, in a folder of its own and in one file.
class Copy {
 public:
  using Change =
      std::function<void(std::map<std::string, HostArray>& tensors, ordered_json& config)>;

  Copy(const std::string& from, const Change& change) {
    std::map<std::string, HostArray> tensors;
    const auto source = open_weights(from);
    for (const WeightInfo& info : source->tensors()) {
      tensors[info.name] = {info.dtype, info.shape, {info.bytes.begin(), info.bytes.end()}};
    }
    ordered_json config = read_json(from + "/config.json");
    change(tensors, config);
    SafetensorsWriter writer;
    for (auto& [name, array] : tensors) {
      writer.add(name, std::move(array));
    }
    writer.save(folder_ / "model.safetensors");
    test::write_file(folder_.path() / "config.json", config.dump());
  }
  std::string path() const { return folder_.path().string(); }
  std::unique_ptr<Model> load() const { return load_model(open_model(path()), Device::cpu()); }

 private:
  test::TempFolder folder_;
};

/// `body` throws an Error of this kind about the model whose text contains all `parts`.
template <typename Body>
void expect_model_error(ErrorKind kind, std::initializer_list<std::string> parts, Body&& body) {
  try {
    body();
    ADD_FAILURE() << "no error; expected one with: " << *parts.begin();
  } catch (const Error& error) {
    const std::string text = error.what();
    EXPECT_EQ(static_cast<int>(error.kind()), static_cast<int>(kind)) << text;
    EXPECT_EQ(static_cast<int>(error.subject()), static_cast<int>(Subject::Model)) << text;
    for (const std::string& part : parts) {
      EXPECT_NE(text.find(part), std::string::npos) << "'" << part << "' is not in: " << text;
    }
  }
}

}  // namespace candela::models
