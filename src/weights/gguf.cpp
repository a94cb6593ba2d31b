#include "weights/gguf.h"

#include <simdjson.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <optional>

#include "weights/gguf_reader.h"

namespace candela {

namespace {

constexpr uint64_t kMaxKeyBytes = 65535;      // docs/gguf.md: at most 2^16 - 1
constexpr uint64_t kMaxTensorNameBytes = 64;  // docs/gguf.md: at most 64
constexpr uint64_t kDefaultAlignment = 32;

template <typename... Args>
[[noreturn]] void corrupt(fmt::format_string<Args...> text, Args&&... args) {
  fail(ErrorKind::CorruptData, Subject::Model, text, std::forward<Args>(args)...);
}

struct TensorType {
  std::string_view name;
  uint32_t number;
  std::optional<DType> dtype;  ///< nothing: candela does not read it
};

// Source: ggml.h, enum ggml_type. Numbers 4, 5, 31 to 33 and 36 to 38 were withdrawn.
constexpr TensorType kTensorTypes[] = {
    {"F32", 0, DType::F32},
    {"F16", 1, DType::F16},
    {"Q4_0", 2, DType::Q4_0},
    {"Q4_1", 3, DType::Q4_1},
    {"Q5_0", 6, {}},
    {"Q5_1", 7, {}},
    {"Q8_0", 8, DType::Q8_0},
    {"Q8_1", 9, {}},
    {"Q2_K", 10, {}},
    {"Q3_K", 11, {}},
    {"Q4_K", 12, {}},
    {"Q5_K", 13, {}},
    {"Q6_K", 14, {}},
    {"Q8_K", 15, {}},
    {"IQ2_XXS", 16, {}},
    {"IQ2_XS", 17, {}},
    {"IQ3_XXS", 18, {}},
    {"IQ1_S", 19, {}},
    {"IQ4_NL", 20, {}},
    {"IQ3_S", 21, {}},
    {"IQ2_S", 22, {}},
    {"IQ4_XS", 23, {}},
    {"I8", 24, {}},
    {"I16", 25, {}},
    {"I32", 26, DType::I32},
    {"I64", 27, DType::I64},
    {"F64", 28, {}},
    {"IQ1_M", 29, {}},
    {"BF16", 30, DType::BF16},
    {"TQ1_0", 34, {}},
    {"TQ2_0", 35, {}},
    {"MXFP4", 39, {}},
};

const TensorType* tensor_type(uint32_t number) {
  for (const TensorType& type : kTensorTypes) {
    if (type.number == number) {
      return &type;
    }
  }
  return nullptr;
}

struct Entry {
  std::string_view name;
  DType dtype = DType::F32;
  Shape shape;
  uint64_t offset = 0;  ///< from the start of the data
  uint64_t bytes = 0;
};

void check_text(std::string_view text,
                uint64_t most,
                std::string_view what,
                std::string_view file) {
  if (text.empty() || text.size() > most) {
    corrupt("A {} of {} has {} bytes; it must have 1 to {}.", what, file, text.size(), most);
  }
  if (!simdjson::validate_utf8(text.data(), text.size())) {
    corrupt("A {} of {} is not valid UTF-8.", what, file);
  }
}

uint32_t read_version(GgufReader& in, std::string_view name) {
  const auto version = in.number<uint32_t>("version");
  if (version != 0 && (version & 0xffffu) == 0) {
    fail(ErrorKind::Unsupported, Subject::Model,
         "{} is a GGUF file for big-endian machines, which candela does not read.", name);
  }
  if (version != 2 && version != 3) {
    fail(ErrorKind::Unsupported, Subject::Model,
         "{} has GGUF version {}; candela reads versions 2 and 3.", name, version);
  }
  return version;
}

using Values = std::vector<std::pair<std::string_view, GgufValue>>;

Values read_values(GgufReader& in, uint64_t count, std::string_view name) {
  Values values;
  values.reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    const std::string_view key = in.text("metadata key");
    check_text(key, kMaxKeyBytes, "metadata key", name);
    values.emplace_back(key, in.value(key));
  }
  return values;
}

uint32_t alignment_of(const GgufMetadata& metadata, std::string_view name) {
  constexpr std::string_view kKey = "general.alignment";
  const GgufValue* value = metadata.find(kKey);
  if (value == nullptr) {
    return kDefaultAlignment;
  }
  if (value->type != GgufType::U32) {
    corrupt("{} of {} is not a u32.", kKey, name);
  }
  const auto alignment = static_cast<uint32_t>(std::get<uint64_t>(value->value));
  if (!std::has_single_bit(alignment)) {
    corrupt("{} of {} is {}; it must be a power of two.", kKey, name, alignment);
  }
  return alignment;
}

Shape read_shape(GgufReader& in, std::string_view tensor, std::string_view name) {
  const auto rank = in.number<uint32_t>("number of dimensions");
  if (rank > 4) {
    corrupt("Tensor {} in {} has {} dimensions; GGUF allows at most 4.", tensor, name, rank);
  }
  std::array<int64_t, 4> sizes{};
  for (uint32_t i = 0; i < rank; ++i) {
    const auto size = in.number<uint64_t>("dimension");
    if (size == 0 || size > static_cast<uint64_t>(INT64_MAX)) {
      corrupt("Dimension {} of tensor {} in {} is {}; it must be from 1 to 2^63 - 1.", i, tensor,
              name, size);
    }
    sizes[rank - 1 - i] = static_cast<int64_t>(size);
  }
  return Shape(std::span<const int64_t>(sizes.data(), rank));
}

/// Bytes of a tensor made of whole blocks.
uint64_t bytes_of(const Entry& entry, std::string_view file) {
  const int64_t row = entry.shape.rank() == 0 ? 1 : entry.shape[-1];
  if (row % block_elements(entry.dtype) != 0) {
    corrupt("Rows of tensor {} in {} have {} elements, no multiple of a {} block of {}.",
            entry.name, file, row, dtype_name(entry.dtype), block_elements(entry.dtype));
  }
  int64_t total = row / block_elements(entry.dtype);
  bool overflow = __builtin_mul_overflow(total, block_bytes(entry.dtype), &total);
  int64_t elements = row;
  for (int axis = 0; axis + 1 < entry.shape.rank(); ++axis) {
    overflow |= __builtin_mul_overflow(total, entry.shape[axis], &total);
    overflow |= __builtin_mul_overflow(elements, entry.shape[axis], &elements);
  }
  if (overflow) {
    corrupt("The shape {} of tensor {} in {} has more than 2^63 bytes.", to_string(entry.shape),
            entry.name, file);
  }
  return static_cast<uint64_t>(total);
}

Entry read_entry(GgufReader& in, uint32_t alignment, std::string_view file) {
  Entry entry;
  entry.name = in.text("tensor name");
  check_text(entry.name, kMaxTensorNameBytes, "tensor name", file);
  entry.shape = read_shape(in, entry.name, file);
  const auto number = in.number<uint32_t>("tensor type");
  const TensorType* type = tensor_type(number);
  if (type == nullptr) {
    corrupt("Tensor {} in {} has the unknown type {}.", entry.name, file, number);
  }
  if (!type->dtype) {
    fail(ErrorKind::Unsupported, Subject::Model,
         "Tensor {} in {} has type {}; candela reads F32, F16, BF16, Q8_0, Q4_0 and Q4_1.",
         entry.name, file, type->name);
  }
  entry.dtype = *type->dtype;
  entry.offset = in.number<uint64_t>("tensor offset");
  if (entry.offset % alignment != 0) {
    corrupt("Tensor {} in {} begins at data byte {}, which is no multiple of the alignment {}.",
            entry.name, file, entry.offset, alignment);
  }
  entry.bytes = bytes_of(entry, file);
  return entry;
}

void check_placement(std::vector<Entry>& entries, uint64_t data_bytes, std::string_view file) {
  std::sort(entries.begin(), entries.end(),
            [](const Entry& a, const Entry& b) { return a.offset < b.offset; });
  uint64_t end = 0;
  for (const Entry& entry : entries) {
    if (entry.offset < end) {
      corrupt("Tensor {} in {} begins at data byte {}, but the tensor before it ends at {}.",
              entry.name, file, entry.offset, end);
    }
    if (entry.offset > data_bytes || entry.bytes > data_bytes - entry.offset) {
      corrupt(
          "Tensor {} in {} takes {} bytes from data byte {} on, but the file has only {}; it is "
          "truncated, so download it again.",
          entry.name, file, entry.bytes, entry.offset, data_bytes);
    }
    end = entry.offset + entry.bytes;
  }
}

}  // namespace

std::string_view gguf_type_name(uint32_t type) {
  const TensorType* known = tensor_type(type);
  return known == nullptr ? std::string_view() : known->name;
}

bool is_gguf(HostPiece file) {
  return file.size() >= 4 && std::memcmp(file.data(), "GGUF", 4) == 0;
}

Gguf parse_gguf(HostPiece file, std::string_view name) {
  if (!is_gguf(file)) {
    corrupt("{} does not begin with \"GGUF\", so it is no GGUF file.", name);
  }
  GgufReader in(file, name);
  in.take(4, "magic");
  const uint32_t version = read_version(in, name);
  // The shortest tensor entry: empty name, no dimensions, type, offset. Values: key, type, 1 byte.
  const uint64_t tensor_count = in.count(8 + 4 + 4 + 8, "number of tensors");
  const uint64_t value_count = in.count(8 + 4 + 1, "number of metadata values");
  GgufMetadata metadata(std::string(name), read_values(in, value_count, name));
  const uint32_t alignment = alignment_of(metadata, name);
  std::vector<Entry> entries;
  entries.reserve(tensor_count);
  for (uint64_t i = 0; i < tensor_count; ++i) {
    entries.push_back(read_entry(in, alignment, name));
  }
  const uint64_t start = (in.position() + alignment - 1) / alignment * alignment;
  const HostPiece data = start < file.size() ? file.subspan(start) : HostPiece();
  check_placement(entries, data.size(), name);
  Gguf out{version, alignment, std::move(metadata), {}};
  out.tensors.reserve(entries.size());
  for (const Entry& entry : entries) {
    out.tensors.push_back({std::string(entry.name), entry.dtype, entry.shape,
                           data.subspan(entry.offset, entry.bytes), name});
  }
  const NameTable no_name_twice(out.tensors);
  return out;
}

GgufFile::GgufFile(const std::shared_ptr<const MappedFile>& file, Gguf header)
    : FileWeights(file->path(), {file}, std::move(header.tensors)),
      version_(header.version),
      metadata_(std::move(header.metadata)) {}

std::shared_ptr<const GgufFile> GgufFile::open(const std::shared_ptr<const MappedFile>& file) {
  Gguf header = parse_gguf(file->bytes(), file->path());
  return std::make_shared<GgufFile>(file, std::move(header));
}

std::shared_ptr<const GgufFile> GgufFile::open(const std::string& path) {
  return open(MappedFile::open(path));
}

}  // namespace candela
