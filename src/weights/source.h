#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "backend/storage.h"

namespace candela {

/// Name, type, shape and bytes of one tensor in a file; nothing is read yet. `bytes` and `file`
/// live as long as the source they come from, so that 28,010 of them cost little more than names.
struct WeightInfo {
  std::string name;
  DType dtype = DType::F32;
  Shape shape;
  HostPiece bytes;        ///< inside the mapped file
  std::string_view file;  ///< for messages
};

/// A set of named tensors in mapped files: one safetensors file, a folder with an index of shards,
/// or a GGUF file. Implementations validate before they trust.
class WeightSource {
 public:
  virtual ~WeightSource() = default;
  /// In the order of the files, and inside a file in the order of the bytes.
  virtual const std::vector<WeightInfo>& tensors() const = 0;
  /// Null if there is none of that name.
  virtual const WeightInfo* find(std::string_view name) const = 0;
  /// The mapped files: kept alive as long as a device reads them in place.
  virtual std::shared_ptr<const HostMemory> owner() const = 0;
  /// The folder or file, for messages.
  virtual const std::string& path() const = 0;
  /// The bytes of `info` have been looked at in place: their pages may leave host memory. They are
  /// read again from the file if touched.
  virtual void release(const WeightInfo& info) const = 0;
};

/// The names of a list of tensors in sorted order: finding one costs a few comparisons, and names
/// chosen by an attacker cannot make it slow, as they could with a hash table.
class NameTable {
 public:
  NameTable() = default;
  /// @throws CorruptData naming the tensor if two have the same name.
  explicit NameTable(const std::vector<WeightInfo>& tensors);
  const WeightInfo* find(const std::vector<WeightInfo>& tensors, std::string_view name) const;

 private:
  std::vector<uint32_t> order_;
};

/// Opens MODEL: a folder (model.safetensors.index.json, model.safetensors, or its single
/// .safetensors or .gguf file) or such a file. Links are followed, as a Hugging Face cache needs.
///
/// @throws NotFound     the path, or files that an index names, do not exist.
/// @throws CorruptData  the files contradict themselves or each other.
/// @throws Unsupported  a dtype, block format or format version that candela does not read.
/// @throws Io           a file cannot be read.
std::shared_ptr<const WeightSource> open_weights(const std::string& path);

}  // namespace candela
