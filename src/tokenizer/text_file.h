#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

namespace candela {

/// The whole file. Throws NotFound if it does not exist, CorruptData if it is longer than
/// `max_bytes`, Io if reading fails; all about the model.
std::string read_model_text(const std::filesystem::path& path, size_t max_bytes);

/// The file as JSON. Throws CorruptData, with the position, if it is not a JSON object.
nlohmann::json read_model_json(const std::filesystem::path& path, size_t max_bytes);

/// `text` as a JSON object; `name` is used in messages.
nlohmann::json parse_model_json(const std::string& text, const std::string& name);

}  // namespace candela
