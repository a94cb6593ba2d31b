#include "weights/writer.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace candela {

namespace {

using Item = std::pair<const std::string, HostArray>;

}  // namespace

std::string encode_safetensors_header(std::span<const TensorHeader> tensors,
                                      const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) {
    header["__metadata__"] = metadata;
  }
  uint64_t offset = 0;
  for (const TensorHeader& tensor : tensors) {
    const auto dims = tensor.shape.dims();
    const uint64_t end =
        offset + static_cast<uint64_t>(dtype_bytes(tensor.dtype, tensor.shape.elements()));
    header[tensor.name] = {{"dtype", std::string(dtype_name(tensor.dtype))},
                           {"shape", std::vector<int64_t>(dims.begin(), dims.end())},
                           {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const nlohmann::json::exception&) {
    fail(ErrorKind::InvalidArgument, Subject::Usage,
         "A tensor name or metadata text is not valid UTF-8 and cannot be written.");
  }
  text.append((8 - text.size() % 8) % 8, ' ');
  const uint64_t length = text.size();
  std::string out(sizeof(length), '\0');
  std::memcpy(out.data(), &length, sizeof(length));
  return out + text;
}

void SafetensorsWriter::add(const std::string& name, const Tensor& tensor) {
  add(name, HostArray{tensor.dtype(), tensor.shape(), tensor.to_bytes()});
}

void SafetensorsWriter::add(const std::string& name, HostArray array) {
  if (is_quantized(array.dtype)) {
    fail(ErrorKind::Unsupported, Subject::Usage,
         "Tensor {} is {}, a block format that safetensors files do not know.", name,
         dtype_name(array.dtype));
  }
  const auto bytes = static_cast<uint64_t>(dtype_bytes(array.dtype, array.shape.elements()));
  if (bytes != array.bytes.size()) {
    fail(ErrorKind::InvalidArgument, Subject::Usage,
         "Tensor {} of shape {} takes {} bytes, but {} are given.", name, to_string(array.shape),
         bytes, array.bytes.size());
  }
  if (name == "__metadata__" || !arrays_.emplace(name, std::move(array)).second) {
    fail(ErrorKind::InvalidArgument, Subject::Usage,
         "The tensor name {} is taken already; a file holds each name once.", name);
  }
}

void SafetensorsWriter::set_metadata(const std::string& key, const std::string& value) {
  metadata_[key] = value;
}

std::vector<std::byte> SafetensorsWriter::encode() const {
  std::vector<const Item*> items;
  uint64_t total = 0;
  for (const Item& item : arrays_) {
    items.push_back(&item);
    total += item.second.bytes.size();
  }
  std::stable_sort(items.begin(), items.end(), [](const Item* a, const Item* b) {
    return block_bytes(a->second.dtype) > block_bytes(b->second.dtype);
  });
  std::vector<TensorHeader> headers;
  headers.reserve(items.size());
  for (const Item* item : items) {
    headers.push_back({item->first, item->second.dtype, item->second.shape});
  }
  const std::string header = encode_safetensors_header(headers, metadata_);
  std::vector<std::byte> out;
  out.reserve(header.size() + total);
  const auto* text = reinterpret_cast<const std::byte*>(header.data());
  out.insert(out.end(), text, text + header.size());
  for (const Item* item : items) {
    out.insert(out.end(), item->second.bytes.begin(), item->second.bytes.end());
  }
  return out;
}

void SafetensorsWriter::save(const std::string& path) const {
  write_file_atomically(path, encode());
}

void write_file_atomically(const std::string& path, HostPiece bytes) {
  const std::string beside = fmt::format("{}.{}.part", path, ::getpid());
  std::error_code error;
  {
    std::ofstream out(beside, std::ios::binary | std::ios::trunc);
    out.write(reinterpret_cast<const char*>(bytes.data()),
              static_cast<std::streamsize>(bytes.size()));
    out.close();
    if (!out) {
      std::filesystem::remove(beside, error);
      fail(ErrorKind::Io, Subject::Usage,
           "Writing {} fails; check that the folder exists and has room.", path);
    }
  }
  std::filesystem::rename(beside, path, error);
  if (error) {
    const std::string reason = error.message();
    std::filesystem::remove(beside, error);
    fail(ErrorKind::Io, Subject::Usage, "Writing {} fails: {}.", path, reason);
  }
}

}  // namespace candela
