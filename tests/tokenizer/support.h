#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/error.h"
#include "tokenizer/tokenizer.h"

namespace candela::test {

/// The folder of goldens: $CANDELA_GOLDEN, or the tree's own.
std::filesystem::path golden_dir();

/// A golden file as JSON. Fails the test if it does not exist.
nlohmann::ordered_json golden_json(const std::string& name);

/// A list inside a golden file, which must not be empty. By value, so that a loop may run over it.
nlohmann::ordered_json golden_list(const std::string& name, const char* key);

/// The small checkpoint.
std::filesystem::path tiny_omni_dir();

/// A folder of the test that is removed with the object.
class TempFolder {
 public:
  TempFolder();
  ~TempFolder();
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  /// Writes a file and returns the folder.
  const std::filesystem::path& with(const std::string& name, std::string_view text) const;
  /// Copies a file of the small checkpoint.
  void copy_tiny(const std::string& name) const;

 private:
  std::filesystem::path path_;
};

std::string read_text(const std::filesystem::path& path);

/// The published Qwen3 vocabulary with the seven audio tokens of Qwen3-Omni added by a
/// tokenizer_config.json, as the goldens have it. Loaded once for all tests.
const Tokenizer& real_tokenizer();

/// Runs `body` and returns the Error it throws; fails the test if it throws none or another. The
/// message must be one line.
Error error_of(const std::function<void()>& body);

}  // namespace candela::test
