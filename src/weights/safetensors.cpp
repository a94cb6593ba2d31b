#include "weights/safetensors.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include "weights/json.h"

namespace candela {

namespace {

namespace dom = simdjson::dom;

template <typename... Args>
[[noreturn]] void corrupt(fmt::format_string<Args...> text, Args&&... args) {
  fail(ErrorKind::CorruptData, Subject::Model, text, std::forward<Args>(args)...);
}

/// A tensor as the header describes it; offsets count from the end of the header.
struct Entry {
  std::string_view name;
  DType dtype = DType::F32;
  Shape shape;
  uint64_t begin = 0, end = 0;
};

DType dtype_of(std::string_view text, std::string_view name, std::string_view file) {
  static constexpr std::pair<std::string_view, DType> kKnown[] = {
      {"F32", DType::F32}, {"F16", DType::F16}, {"BF16", DType::BF16}, {"U8", DType::U8},
      {"I32", DType::I32}, {"U32", DType::U32}, {"I64", DType::I64},   {"BOOL", DType::U8}};
  for (const auto& [known, dtype] : kKnown) {
    if (text == known) {
      return dtype;
    }
  }
  static constexpr std::string_view kOthers[] = {
      "F64",     "I8",      "I16",     "U16",     "U64", "C64",         "F8_E4M3",
      "F8_E5M2", "F8_E8M0", "F6_E2M3", "F6_E3M2", "F4",  "F8_E4M3FNUZ", "F8_E5M2FNUZ"};
  if (std::find(std::begin(kOthers), std::end(kOthers), text) != std::end(kOthers)) {
    fail(ErrorKind::Unsupported, Subject::Model,
         "Tensor {} in {} has dtype {}, which candela does not read; convert it to BF16 or F32.",
         name, file, text);
  }
  corrupt("Tensor {} in {} has the unknown dtype '{}'.", name, file, text);
}

Shape shape_of(dom::element value, std::string_view name, std::string_view file) {
  dom::array dims;
  if (value.get(dims)) {
    corrupt("The shape of tensor {} in {} is not a list.", name, file);
  }
  std::array<int64_t, kMaxRank> sizes{};
  size_t rank = 0;
  for (const dom::element dim : dims) {
    int64_t size = 0;
    if (dim.get(size) || size < 0) {
      corrupt("Dimension {} of tensor {} in {} is {}; it must be an integer from 0 to 2^63 - 1.",
              rank, name, file, simdjson::minify(dim));
    }
    if (rank == kMaxRank) {
      fail(ErrorKind::Unsupported, Subject::Model,
           "Tensor {} in {} has more than the {} dimensions that candela supports.", name, file,
           kMaxRank);
    }
    sizes[rank++] = size;
  }
  return Shape(std::span<const int64_t>(sizes.data(), rank));
}

/// Bytes of a gapless tensor; nothing if the product overflows.
std::optional<uint64_t> checked_bytes(DType dtype, const Shape& shape) {
  int64_t total = block_bytes(dtype);
  for (const int64_t dim : shape.dims()) {
    if (__builtin_mul_overflow(total, dim, &total)) {
      return std::nullopt;
    }
  }
  return static_cast<uint64_t>(total);
}

void read_offsets(dom::element value, Entry& entry, std::string_view file) {
  dom::array offsets;
  if (value.get(offsets) || offsets.size() != 2 || offsets.at(0).get(entry.begin) ||
      offsets.at(1).get(entry.end)) {
    corrupt("data_offsets of tensor {} in {} is {}; it must be two integers, begin and end.",
            entry.name, file, simdjson::minify(value));
  }
}

Entry read_entry(std::string_view name, dom::element value, std::string_view file) {
  Entry entry;
  entry.name = name;
  dom::object fields;
  if (value.get(fields)) {
    corrupt("Entry {} in the header of {} is not an object.", name, file);
  }
  int dtypes = 0, shapes = 0, offsets = 0;
  for (const auto& [key, field] : fields) {
    if (key == "dtype") {
      std::string_view text;
      if (field.get(text)) {
        corrupt("The dtype of tensor {} in {} is not a string.", name, file);
      }
      entry.dtype = dtype_of(text, name, file);
      ++dtypes;
    } else if (key == "shape") {
      entry.shape = shape_of(field, name, file);
      ++shapes;
    } else if (key == "data_offsets") {
      read_offsets(field, entry, file);
      ++offsets;
    }
  }
  if (dtypes != 1 || shapes != 1 || offsets != 1) {
    corrupt("Tensor {} in {} must have dtype, shape and data_offsets exactly once each.", name,
            file);
  }
  return entry;
}

void read_metadata(dom::element value, Safetensors& out, std::string_view file) {
  dom::object fields;
  if (value.get(fields)) {
    corrupt("__metadata__ of {} is not an object.", file);
  }
  for (const auto& [key, field] : fields) {
    std::string_view text;
    if (field.get(text)) {
      corrupt("The value of '{}' in __metadata__ of {} is not a string.", key, file);
    }
    out.metadata.emplace_back(key, text);
  }
}

void check_names(const std::vector<Entry>& entries, std::string_view file) {
  std::vector<std::string_view> names;
  names.reserve(entries.size());
  for (const Entry& entry : entries) {
    names.push_back(entry.name);
  }
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice != names.end()) {
    corrupt("Tensor {} stands twice in the header of {}.", *twice, file);
  }
}

/// Sorts by offset and checks that the tensors cover the `data_bytes` exactly.
void check_cover(std::vector<Entry>& entries, uint64_t data_bytes, std::string_view file) {
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  uint64_t covered = 0;
  for (const Entry& entry : entries) {
    if (entry.begin > entry.end) {
      corrupt("Tensor {} in {} begins at byte {} and ends before it, at byte {}.", entry.name, file,
              entry.begin, entry.end);
    }
    const std::optional<uint64_t> bytes = checked_bytes(entry.dtype, entry.shape);
    if (!bytes) {
      corrupt("The shape {} of tensor {} in {} has more than 2^63 bytes.", to_string(entry.shape),
              entry.name, file);
    }
    if (*bytes != entry.end - entry.begin) {
      corrupt("Tensor {} in {} is {} {}, which takes {} bytes, but its data_offsets span {}.",
              entry.name, file, dtype_name(entry.dtype), to_string(entry.shape), *bytes,
              entry.end - entry.begin);
    }
    if (entry.end > data_bytes) {
      corrupt(
          "Tensor {} in {} ends at data byte {}, but the file has only {}; it is truncated, so "
          "download it again.",
          entry.name, file, entry.end, data_bytes);
    }
    if (entry.begin != covered) {
      corrupt("Tensor {} in {} begins at data byte {}, but the tensor before it ends at {}: {}.",
              entry.name, file, entry.begin, covered,
              entry.begin < covered ? "they overlap" : "there is a gap");
    }
    covered = entry.end;
  }
  if (covered != data_bytes) {
    corrupt("{} has {} bytes after its last tensor.", file, data_bytes - covered);
  }
}

/// The header's text, with its length checked.
HostPiece header_of(HostPiece file, std::string_view name) {
  if (file.size() < 8) {
    corrupt("{} has {} bytes, but a safetensors file begins with a length of 8 bytes.", name,
            file.size());
  }
  uint64_t length = 0;
  std::memcpy(&length, file.data(), sizeof(length));
  if (length > kMaxSafetensorsHeader) {
    corrupt(
        "The header of {} claims {} bytes; at most {} are allowed, so this is no safetensors "
        "file or a broken one.",
        name, length, kMaxSafetensorsHeader);
  }
  if (length > file.size() - 8) {
    corrupt(
        "The header of {} claims {} bytes, but the file has only {} after the length; it is "
        "truncated, so download it again.",
        name, length, file.size() - 8);
  }
  const HostPiece header = file.subspan(8, length);
  if (header.empty() || header[0] != std::byte{'{'}) {
    corrupt("The header of {} does not begin with '{{'.", name);
  }
  return header;
}

}  // namespace

Safetensors parse_safetensors(HostPiece file, std::string_view name) {
  const HostPiece header = header_of(file, name);
  dom::parser parser;
  // {"name": {"shape": [1]}}: three levels; one more lets a wrong type be named.
  dom::object fields;
  if (parse_json(parser, header, 4, "The header", name).get(fields)) {
    corrupt("The header of {} is not a JSON object.", name);
  }
  Safetensors out;
  std::vector<Entry> entries;
  int metadata = 0;
  for (const auto& [key, value] : fields) {
    if (key == "__metadata__") {
      read_metadata(value, out, name);
      ++metadata;
    } else {
      entries.push_back(read_entry(key, value, name));
    }
  }
  if (metadata > 1) {
    corrupt("__metadata__ stands twice in the header of {}.", name);
  }
  check_names(entries, name);
  const HostPiece data = file.subspan(8 + header.size());
  check_cover(entries, data.size(), name);
  out.tensors.reserve(entries.size());
  for (const Entry& entry : entries) {
    out.tensors.push_back({std::string(entry.name), entry.dtype, entry.shape,
                           data.subspan(entry.begin, entry.end - entry.begin), name});
  }
  return out;
}

}  // namespace candela
