#pragma once

#include <variant>

#include "weights/file_weights.h"

namespace candela {

/// Types of metadata values, with the numbers that stand in files.
enum class GgufType : uint32_t {
  U8 = 0,
  I8 = 1,
  U16 = 2,
  I16 = 3,
  U32 = 4,
  I32 = 5,
  F32 = 6,
  Bool = 7,
  String = 8,
  Array = 9,
  U64 = 10,
  I64 = 11,
  F64 = 12,
};

/// Elements of a metadata array. Numbers stay in the file until they are asked for.
struct GgufArray {
  GgufType type = GgufType::U8;
  uint64_t count = 0;
  HostPiece bytes;                        ///< of numbers
  std::vector<std::string_view> strings;  ///< if `type` is String
};

/// One metadata value; texts point into the file.
struct GgufValue {
  GgufType type = GgufType::U8;
  std::variant<uint64_t, int64_t, double, bool, std::string_view, GgufArray> value;
};

/// Names and values of the metadata with typed access. Texts live as long as the file.
class GgufMetadata {
 public:
  /// @param file  For messages.
  GgufMetadata(std::string file, std::vector<std::pair<std::string_view, GgufValue>> values);

  /// In the order of the file.
  const std::vector<std::pair<std::string_view, GgufValue>>& values() const { return values_; }
  const GgufValue* find(std::string_view key) const;
  bool contains(std::string_view key) const { return find(key) != nullptr; }

  /// @throws NotFound (no such key), CorruptData (another type, or a number that does not fit),
  ///         naming file and key.
  std::string_view get_string(std::string_view key) const;
  bool get_bool(std::string_view key) const;
  /// From any integer type.
  uint64_t get_u64(std::string_view key) const;
  int64_t get_i64(std::string_view key) const;
  /// From any number.
  double get_f64(std::string_view key) const;
  const std::vector<std::string_view>& get_string_array(std::string_view key) const;
  /// From any array of integers or booleans.
  std::vector<int64_t> get_i64_array(std::string_view key) const;
  /// From any array of numbers.
  std::vector<double> get_f64_array(std::string_view key) const;

 private:
  const GgufValue& require(std::string_view key) const;
  const GgufArray& require_array(std::string_view key) const;
  [[noreturn]] void wrong_type(std::string_view key, std::string_view wanted) const;

  std::string file_;
  std::vector<std::pair<std::string_view, GgufValue>> values_;
  std::vector<uint32_t> order_;  ///< by key
};

/// What the header of a GGUF file says; everything points into the file.
struct Gguf {
  uint32_t version = 0;
  uint32_t alignment = 0;
  GgufMetadata metadata;
  std::vector<WeightInfo> tensors;  ///< in the order of their bytes
};

/// True if the first four bytes are "GGUF".
bool is_gguf(HostPiece file);

/// Reads the header of a whole GGUF file (version 2 or 3, little endian) in memory. Dimensions are
/// turned into row-major order: ne = [576, 49152] in the file is the shape [49152, 576].
///
/// @param name  The file's name; it must live as long as the result.
/// @throws CorruptData, and Unsupported for versions and tensor types that candela does not read.
/// @source ggml, docs/gguf.md
Gguf parse_gguf(HostPiece file, std::string_view name);

/// A mapped GGUF file: tensors and metadata.
class GgufFile : public FileWeights {
 public:
  static std::shared_ptr<const GgufFile> open(const std::shared_ptr<const MappedFile>& file);
  static std::shared_ptr<const GgufFile> open(const std::string& path);

  GgufFile(const std::shared_ptr<const MappedFile>& file, Gguf header);

  const GgufMetadata& metadata() const { return metadata_; }
  uint32_t version() const { return version_; }

 private:
  uint32_t version_;
  GgufMetadata metadata_;
};

/// "q4_1", "q6_K", ... of a tensor type's number in GGUF files; empty if it is unknown.
std::string_view gguf_type_name(uint32_t type);

}  // namespace candela
