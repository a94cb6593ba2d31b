#include "tokenizer/text_file.h"

#include <fstream>

#include "base/error.h"

namespace candela {

namespace fs = std::filesystem;

std::string read_model_text(const fs::path& path, size_t max_bytes) {
  std::error_code error;
  if (!fs::is_regular_file(path, error)) {
    fail(ErrorKind::NotFound, Subject::Model,
         "The file {} does not exist; download the model again.", path.string());
  }
  const auto size = fs::file_size(path, error);
  if (!error && size > max_bytes) {
    fail(ErrorKind::CorruptData, Subject::Model,
         "The file {} has {} bytes, more than the {} such a file can have; download it again.",
         path.string(), size, max_bytes);
  }
  std::ifstream file(path, std::ios::binary);
  std::string text(error ? 0 : static_cast<size_t>(size), '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (error || !file) {
    fail(ErrorKind::Io, Subject::Model,
         "The file {} cannot be read; check its permissions and the disk.", path.string());
  }
  return text;
}

nlohmann::json parse_model_json(const std::string& text, const std::string& name) {
  try {
    nlohmann::json json = nlohmann::json::parse(text);
    if (json.is_object()) {
      return json;
    }
  } catch (const nlohmann::json::exception& error) {
    fail(ErrorKind::CorruptData, Subject::Model, "{} is not valid JSON ({}); download it again.",
         name, error.what());
  }
  fail(ErrorKind::CorruptData, Subject::Model,
       "{} holds JSON that is not an object; download it again.", name);
}

nlohmann::json read_model_json(const fs::path& path, size_t max_bytes) {
  return parse_model_json(read_model_text(path, max_bytes), path.string());
}

}  // namespace candela
