#pragma once

#include <algorithm>
#include <cstring>
#include <string_view>
#include <type_traits>

#include "base/error.h"
#include "weights/gguf.h"

namespace candela {

/// Bytes of one number or boolean; 0 for texts, arrays and unknown types.
constexpr uint64_t gguf_number_bytes(GgufType type) {
  switch (type) {
    case GgufType::U8:
    case GgufType::I8:
    case GgufType::Bool:
      return 1;
    case GgufType::U16:
    case GgufType::I16:
      return 2;
    case GgufType::U32:
    case GgufType::I32:
    case GgufType::F32:
      return 4;
    case GgufType::U64:
    case GgufType::I64:
    case GgufType::F64:
      return 8;
    default:
      return 0;
  }
}

/// Walks through a GGUF header; every step is checked against the end of the file.
class GgufReader {
 public:
  GgufReader(HostPiece file, std::string_view name) : file_(file), name_(name) {}

  uint64_t position() const { return position_; }
  uint64_t left() const { return file_.size() - position_; }

  HostPiece take(uint64_t bytes, std::string_view what) {
    if (bytes > left()) {
      fail(ErrorKind::CorruptData, Subject::Model,
           "{} ends inside its header: a {} at byte {} needs {} bytes and {} are left.", name_,
           what, position_, bytes, left());
    }
    const HostPiece piece = file_.subspan(position_, bytes);
    position_ += bytes;
    return piece;
  }

  template <typename T>
  T number(std::string_view what) {
    static_assert(std::is_arithmetic_v<T>);
    T value;
    std::memcpy(&value, take(sizeof(T), what).data(), sizeof(T));
    return value;
  }

  /// A number of things that take at least `least` bytes each: no file makes us reserve more
  /// memory than a small multiple of its own size.
  uint64_t count(uint64_t least, std::string_view what) {
    const auto value = number<uint64_t>(what);
    if (value > left() / std::max<uint64_t>(least, 1)) {
      fail(ErrorKind::CorruptData, Subject::Model,
           "The {} in {} is {}, more than its remaining {} bytes can hold.", what, name_, value,
           left());
    }
    return value;
  }

  std::string_view text(std::string_view what) {
    const auto bytes = number<uint64_t>(what);
    const HostPiece piece = take(bytes, what);
    return {reinterpret_cast<const char*>(piece.data()), piece.size()};
  }

  /// A metadata value with its type in front.
  GgufValue value(std::string_view key);

 private:
  GgufType type(std::string_view key);
  GgufArray array(std::string_view key);

  HostPiece file_;
  std::string_view name_;
  uint64_t position_ = 0;
};

}  // namespace candela
