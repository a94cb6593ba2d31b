#pragma once

#include <map>
#include <span>
#include <string>

#include "tensor/tensor.h"
#include "weights/host_array.h"

namespace candela {

/// What the header of a safetensors file says of one tensor.
struct TensorHeader {
  std::string name;
  DType dtype = DType::F32;
  Shape shape;
};

/// Length and JSON text before the bytes of tensors that follow each other in this order; a
/// multiple of eight bytes.
/// @throws InvalidArgument if a name is not valid UTF-8
std::string encode_safetensors_header(std::span<const TensorHeader> tensors,
                                      const std::map<std::string, std::string>& metadata = {});

/// Collects tensors and writes them as one safetensors file.
///
///     SafetensorsWriter writer;
///     writer.add("text.short/logits", logits);
///     writer.save("out/text.safetensors");
class SafetensorsWriter {
 public:
  /// Copies the tensor to the host (waits for the device).
  /// @throws InvalidArgument (a name given twice), Unsupported (block formats)
  void add(const std::string& name, const Tensor& tensor);
  void add(const std::string& name, HostArray array);
  /// Text for `__metadata__`.
  void set_metadata(const std::string& key, const std::string& value);

  size_t size() const { return arrays_.size(); }
  /// The file's bytes. Tensors are ordered by falling element size, then name, and the header is
  /// padded, so that every tensor starts at a multiple of its element size.
  /// @throws InvalidArgument if a name is not valid UTF-8
  std::vector<std::byte> encode() const;
  /// Writes beside `path` and renames, so that nobody sees half a file.
  /// @throws Io naming the path
  void save(const std::string& path) const;

 private:
  std::map<std::string, HostArray> arrays_;
  std::map<std::string, std::string> metadata_;
};

/// Writes `bytes` to a new file beside `path`, then renames it to `path`. @throws Io
void write_file_atomically(const std::string& path, HostPiece bytes);

}  // namespace candela
