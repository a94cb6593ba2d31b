#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace candela::models {

/// Reads one object of a config.json strictly: every value has a type and a range, and a wrong one
/// is a CorruptData error that names file, key and value. `where` is "config.json: text_config".
class ConfigReader {
 public:
  ConfigReader(const nlohmann::ordered_json& object, std::string where);

  bool has(std::string_view key) const;  ///< present and not null
  ConfigReader child(std::string_view key) const;

  int64_t integer(std::string_view key, int64_t low, int64_t high) const;
  int64_t integer_or(std::string_view key, int64_t fallback, int64_t low, int64_t high) const;
  double number(std::string_view key, double low, double high) const;
  double number_or(std::string_view key, double fallback, double low, double high) const;
  bool boolean_or(std::string_view key, bool fallback) const;
  std::string text(std::string_view key) const;
  std::string text_or(std::string_view key, std::string_view fallback) const;
  std::vector<int64_t> integers(std::string_view key, int64_t low, int64_t high) const;
  /// One integer or an array of them; empty if absent.
  std::vector<int64_t> integers_or_one(std::string_view key, int64_t low, int64_t high) const;

  const std::string& where() const { return where_; }
  /// Throws CorruptData: "`where`: `text`".
  [[noreturn]] void reject(const std::string& text) const;

 private:
  const nlohmann::ordered_json& value(std::string_view key) const;

  const nlohmann::ordered_json* object_;
  std::string where_;
};

/// Parses a JSON file of a model folder; at most 64 levels deep, 20,000 keys
/// and 16 MiB.
/// @throws NotFound, CorruptData naming the file
nlohmann::ordered_json read_json(const std::string& path);
/// The same from memory, for the fuzzer; `name` stands for the file in messages.
nlohmann::ordered_json parse_json(std::string_view text, const std::string& name);

}  // namespace candela::models
