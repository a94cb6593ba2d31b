#include <algorithm>
#include <numeric>

#include "weights/gguf_reader.h"

namespace candela {

namespace {

template <typename T>
T load(const std::byte* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(T));
  return value;
}

/// Any number as it lies in a file; nothing else comes here.
GgufValue load_number(GgufType type, const std::byte* bytes) {
  switch (type) {
    case GgufType::U8:
      return {type, uint64_t{load<uint8_t>(bytes)}};
    case GgufType::I8:
      return {type, int64_t{load<int8_t>(bytes)}};
    case GgufType::U16:
      return {type, uint64_t{load<uint16_t>(bytes)}};
    case GgufType::I16:
      return {type, int64_t{load<int16_t>(bytes)}};
    case GgufType::U32:
      return {type, uint64_t{load<uint32_t>(bytes)}};
    case GgufType::I32:
      return {type, int64_t{load<int32_t>(bytes)}};
    case GgufType::F32:
      return {type, double{load<float>(bytes)}};
    case GgufType::Bool:
      return {type, load<uint8_t>(bytes) != 0};
    case GgufType::U64:
      return {type, load<uint64_t>(bytes)};
    case GgufType::I64:
      return {type, load<int64_t>(bytes)};
    default:
      return {type, load<double>(bytes)};
  }
}

bool is_signed_integer(const GgufValue& value) {
  return std::holds_alternative<int64_t>(value.value);
}
bool is_unsigned_integer(const GgufValue& value) {
  return std::holds_alternative<uint64_t>(value.value);
}

}  // namespace

GgufType GgufReader::type(std::string_view key) {
  const auto type = number<uint32_t>("value type");
  if (type > static_cast<uint32_t>(GgufType::F64)) {
    fail(ErrorKind::CorruptData, Subject::Model, "Metadata {} of {} has the unknown type {}.", key,
         name_, type);
  }
  return static_cast<GgufType>(type);
}

GgufArray GgufReader::array(std::string_view key) {
  GgufArray array;
  array.type = type(key);
  if (array.type == GgufType::Array) {
    fail(ErrorKind::Unsupported, Subject::Model,
         "Metadata {} of {} is an array of arrays, which candela does not read.", key, name_);
  }
  if (array.type == GgufType::String) {
    array.count = count(sizeof(uint64_t), "array length");
    array.strings.reserve(array.count);
    for (uint64_t i = 0; i < array.count; ++i) {
      array.strings.push_back(text("array element"));
    }
    return array;
  }
  array.count = count(gguf_number_bytes(array.type), "array length");
  array.bytes = take(array.count * gguf_number_bytes(array.type), "array");
  return array;
}

GgufValue GgufReader::value(std::string_view key) {
  const GgufType kind = type(key);
  if (kind == GgufType::String) {
    return {kind, text("metadata text")};
  }
  if (kind == GgufType::Array) {
    return {kind, array(key)};
  }
  const HostPiece bytes = take(gguf_number_bytes(kind), "metadata value");
  if (kind == GgufType::Bool && load<uint8_t>(bytes.data()) > 1) {
    fail(ErrorKind::CorruptData, Subject::Model,
         "Metadata {} of {} is a boolean with the value {}.", key, name_,
         load<uint8_t>(bytes.data()));
  }
  return load_number(kind, bytes.data());
}

GgufMetadata::GgufMetadata(std::string file,
                           std::vector<std::pair<std::string_view, GgufValue>> values)
    : file_(std::move(file)), values_(std::move(values)), order_(values_.size()) {
  std::iota(order_.begin(), order_.end(), 0u);
  std::sort(order_.begin(), order_.end(),
            [&](uint32_t a, uint32_t b) { return values_[a].first < values_[b].first; });
  for (size_t i = 1; i < order_.size(); ++i) {
    if (values_[order_[i - 1]].first == values_[order_[i]].first) {
      fail(ErrorKind::CorruptData, Subject::Model, "Metadata {} stands twice in {}.",
           values_[order_[i]].first, file_);
    }
  }
}

const GgufValue* GgufMetadata::find(std::string_view key) const {
  const auto at = std::lower_bound(
      order_.begin(), order_.end(), key,
      [&](uint32_t index, std::string_view wanted) { return values_[index].first < wanted; });
  return at != order_.end() && values_[*at].first == key ? &values_[*at].second : nullptr;
}

const GgufValue& GgufMetadata::require(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) {
    fail(ErrorKind::NotFound, Subject::Model, "{} lacks the metadata {}.", file_, key);
  }
  return *value;
}

void GgufMetadata::wrong_type(std::string_view key, std::string_view wanted) const {
  fail(ErrorKind::CorruptData, Subject::Model, "Metadata {} of {} must be {}.", key, file_, wanted);
}

std::string_view GgufMetadata::get_string(std::string_view key) const {
  const auto* text = std::get_if<std::string_view>(&require(key).value);
  return text != nullptr ? *text : (wrong_type(key, "a string"), std::string_view());
}

bool GgufMetadata::get_bool(std::string_view key) const {
  const auto* value = std::get_if<bool>(&require(key).value);
  return value != nullptr ? *value : (wrong_type(key, "a boolean"), false);
}

uint64_t GgufMetadata::get_u64(std::string_view key) const {
  const GgufValue& value = require(key);
  if (is_unsigned_integer(value)) {
    return std::get<uint64_t>(value.value);
  }
  if (is_signed_integer(value) && std::get<int64_t>(value.value) >= 0) {
    return static_cast<uint64_t>(std::get<int64_t>(value.value));
  }
  wrong_type(key, "an integer that is not negative");
}

int64_t GgufMetadata::get_i64(std::string_view key) const {
  const GgufValue& value = require(key);
  if (is_signed_integer(value)) {
    return std::get<int64_t>(value.value);
  }
  if (is_unsigned_integer(value) && std::get<uint64_t>(value.value) <= INT64_MAX) {
    return static_cast<int64_t>(std::get<uint64_t>(value.value));
  }
  wrong_type(key, "an integer below 2^63");
}

double GgufMetadata::get_f64(std::string_view key) const {
  const GgufValue& value = require(key);
  if (is_unsigned_integer(value)) {
    return static_cast<double>(std::get<uint64_t>(value.value));
  }
  if (is_signed_integer(value)) {
    return static_cast<double>(std::get<int64_t>(value.value));
  }
  if (std::holds_alternative<double>(value.value)) {
    return std::get<double>(value.value);
  }
  wrong_type(key, "a number");
}

const GgufArray& GgufMetadata::require_array(std::string_view key) const {
  const auto* array = std::get_if<GgufArray>(&require(key).value);
  if (array == nullptr) {
    wrong_type(key, "an array");
  }
  return *array;
}

const std::vector<std::string_view>& GgufMetadata::get_string_array(std::string_view key) const {
  const GgufArray& array = require_array(key);
  if (array.type != GgufType::String) {
    wrong_type(key, "an array of strings");
  }
  return array.strings;
}

std::vector<int64_t> GgufMetadata::get_i64_array(std::string_view key) const {
  const GgufArray& array = require_array(key);
  const uint64_t step = gguf_number_bytes(array.type);
  if (step == 0 || array.type == GgufType::F32 || array.type == GgufType::F64) {
    wrong_type(key, "an array of integers");
  }
  std::vector<int64_t> values;
  values.reserve(array.count);
  for (uint64_t i = 0; i < array.count; ++i) {
    const GgufValue value = load_number(array.type, array.bytes.data() + i * step);
    if (is_unsigned_integer(value) && std::get<uint64_t>(value.value) > INT64_MAX) {
      wrong_type(key, "an array of integers below 2^63");
    }
    values.push_back(std::visit(
        [](const auto& number) -> int64_t {
          if constexpr (std::is_arithmetic_v<std::decay_t<decltype(number)>>) {
            return static_cast<int64_t>(number);
          } else {
            return 0;
          }
        },
        value.value));
  }
  return values;
}

std::vector<double> GgufMetadata::get_f64_array(std::string_view key) const {
  const GgufArray& array = require_array(key);
  const uint64_t step = gguf_number_bytes(array.type);
  if (step == 0 || array.type == GgufType::Bool) {
    wrong_type(key, "an array of numbers");
  }
  std::vector<double> values;
  values.reserve(array.count);
  for (uint64_t i = 0; i < array.count; ++i) {
    const GgufValue value = load_number(array.type, array.bytes.data() + i * step);
    values.push_back(std::visit(
        [](const auto& number) -> double {
          if constexpr (std::is_arithmetic_v<std::decay_t<decltype(number)>>) {
            return static_cast<double>(number);
          } else {
            return 0.0;
          }
        },
        value.value));
  }
  return values;
}

}  // namespace candela
