#include "models/config_reader.h"

#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace candela::models {

using nlohmann::ordered_json;

namespace {

/// A value for a message; a long one by its beginning.
std::string spell(const ordered_json& value) {
  constexpr size_t kLongest = 80;
  const std::string text = value.is_structured() && value.size() > kLongest
                               ? std::string(value.is_array() ? "[...]" : "{...}")
                               : value.dump(-1, ' ', true);
  return text.size() <= kLongest ? text : text.substr(0, kLongest) + "...";
}

}  // namespace

ConfigReader::ConfigReader(const ordered_json& object, std::string where)
    : object_(&object), where_(std::move(where)) {
  if (!object.is_object()) {
    reject("is not an object");
  }
}

void ConfigReader::reject(const std::string& text) const {
  fail(ErrorKind::CorruptData, Subject::Model, "{} {}.", where_, text);
}

bool ConfigReader::has(std::string_view key) const {
  const auto found = object_->find(key);
  return found != object_->end() && !found->is_null();
}

const ordered_json& ConfigReader::value(std::string_view key) const {
  if (!has(key)) {
    reject(fmt::format("lacks the key \"{}\"", key));
  }
  return *object_->find(key);
}

ConfigReader ConfigReader::child(std::string_view key) const {
  return ConfigReader(value(key), fmt::format("{} {}", where_, key));
}

int64_t ConfigReader::integer(std::string_view key, int64_t low, int64_t high) const {
  const ordered_json& found = value(key);
  if (!found.is_number_integer()) {
    reject(fmt::format("has \"{}\": {}, an integer is expected", key, spell(found)));
  }
  const bool huge = found.is_number_unsigned() && found.get<uint64_t>() > INT64_MAX;
  const int64_t number = huge ? INT64_MAX : found.get<int64_t>();
  if (huge || number < low || number > high) {
    reject(fmt::format("has \"{}\": {}, which is not between {} and {}", key, spell(found), low,
                       high));
  }
  return number;
}

int64_t ConfigReader::integer_or(std::string_view key,
                                 int64_t fallback,
                                 int64_t low,
                                 int64_t high) const {
  return has(key) ? integer(key, low, high) : fallback;
}

double ConfigReader::number(std::string_view key, double low, double high) const {
  const ordered_json& found = value(key);
  if (!found.is_number()) {
    reject(fmt::format("has \"{}\": {}, a number is expected", key, spell(found)));
  }
  const double number = found.get<double>();
  if (!(number >= low && number <= high)) {
    reject(fmt::format("has \"{}\": {}, which is not between {} and {}", key, number, low, high));
  }
  return number;
}

double ConfigReader::number_or(std::string_view key,
                               double fallback,
                               double low,
                               double high) const {
  return has(key) ? number(key, low, high) : fallback;
}

bool ConfigReader::boolean_or(std::string_view key, bool fallback) const {
  if (!has(key)) {
    return fallback;
  }
  const ordered_json& found = value(key);
  if (!found.is_boolean()) {
    reject(fmt::format("has \"{}\": {}, true or false is expected", key, spell(found)));
  }
  return found.get<bool>();
}

std::string ConfigReader::text(std::string_view key) const {
  const ordered_json& found = value(key);
  if (!found.is_string()) {
    reject(fmt::format("has \"{}\": {}, a string is expected", key, spell(found)));
  }
  return found.get<std::string>();
}

std::string ConfigReader::text_or(std::string_view key, std::string_view fallback) const {
  return has(key) ? text(key) : std::string(fallback);
}

std::vector<int64_t> ConfigReader::integers(std::string_view key, int64_t low, int64_t high) const {
  const ordered_json& found = value(key);
  if (!found.is_array()) {
    reject(fmt::format("has \"{}\": {}, an array of integers is expected", key, spell(found)));
  }
  constexpr size_t kMostNumbers = 4096;
  if (found.size() > kMostNumbers) {
    reject(fmt::format("has {} numbers in \"{}\", at most {} are read", found.size(), key,
                       kMostNumbers));
  }
  std::vector<int64_t> out;
  for (const ordered_json& item : found) {
    if (!item.is_number_integer() || item.get<int64_t>() < low || item.get<int64_t>() > high) {
      reject(fmt::format("has {} in \"{}\", integers between {} and {} are expected", spell(item),
                         key, low, high));
    }
    out.push_back(item.get<int64_t>());
  }
  return out;
}

std::vector<int64_t> ConfigReader::integers_or_one(std::string_view key,
                                                   int64_t low,
                                                   int64_t high) const {
  if (!has(key)) {
    return {};
  }
  return value(key).is_array() ? integers(key, low, high)
                               : std::vector<int64_t>{integer(key, low, high)};
}

ordered_json parse_json(std::string_view text, const std::string& name) {
  constexpr size_t kMaxBytes = 16u << 20;
  constexpr int kMaxDepth = 64;
  constexpr size_t kMaxKeys = 20000;  // ordered objects compare each key with all before it
  if (text.size() > kMaxBytes) {
    fail(ErrorKind::CorruptData, Subject::Model, "{} has {} bytes, at most {} are read.", name,
         text.size(), kMaxBytes);
  }
  bool too_deep = false;
  size_t keys = 0;
  const auto guard = [&](int depth, ordered_json::parse_event_t event, ordered_json&) {
    too_deep = too_deep || depth > kMaxDepth;
    keys += event == ordered_json::parse_event_t::key ? 1 : 0;
    return !too_deep && keys <= kMaxKeys;
  };
  try {
    ordered_json parsed = ordered_json::parse(text, guard);
    if (!too_deep && keys <= kMaxKeys) {
      return parsed;
    }
  } catch (const nlohmann::json::exception& error) {
    fail(ErrorKind::CorruptData, Subject::Model, "{} is not valid JSON: {}.", name, error.what());
  }
  if (!too_deep) {
    fail(ErrorKind::CorruptData, Subject::Model, "{} has {} keys, at most {} are read.", name, keys,
         kMaxKeys);
  }
  fail(ErrorKind::CorruptData, Subject::Model, "{} is nested deeper than {} levels.", name,
       kMaxDepth);
}

ordered_json read_json(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    fail(ErrorKind::NotFound, Subject::Model,
         "{} cannot be opened; the model folder is incomplete.", path);
  }
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  return parse_json(text, path);
}

}  // namespace candela::models
