#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/tensor.h"

namespace candela {

/// Name, type, shape and bytes of one tensor in a file; nothing is read yet.
struct WeightInfo {
  std::string name;
  DType dtype = DType::F32;
  Shape shape;
  HostPiece bytes;   ///< inside the mapped file
  std::string file;  ///< for messages
};

/// A set of named tensors in mapped files: one safetensors file, a folder with an index of shards,
/// or a GGUF file. Implementations validate before they trust.
class WeightSource {
 public:
  virtual ~WeightSource() = default;
  /// In the order of the files.
  virtual const std::vector<WeightInfo>& tensors() const = 0;
  /// Null if there is none of that name.
  virtual const WeightInfo* find(std::string_view name) const = 0;
  /// Keeps the mappings alive as long as a device reads them in place.
  virtual std::shared_ptr<const void> owner() const = 0;
  /// The folder or file, for messages.
  virtual const std::string& path() const = 0;
};

/// Opens MODEL: a folder (model.safetensors.index.json, model.safetensors, or its single .safetensors
/// or .gguf file) or such a file. @throws NotFound, CorruptData, Io with the file's name
std::shared_ptr<const WeightSource> open_weights(const std::string& path);

/// Bytes put on the device so far and in all, while a model loads.
using LoadProgress = std::function<void(uint64_t done, uint64_t total)>;

/// Lazily loaded tensors under a name prefix (candle's VarBuilder).
///
///     Weights layer = weights.pp("layers").pp(3);
///     Tensor q = layer.get("self_attn.q_proj.weight", {4096, 2048});
///
/// Copies share one state, so that names never read and names asked for in vain are known in the end.
class Weights {
 public:
  Weights(std::shared_ptr<const WeightSource> source, Device device);

  /// This set below "prefix.".
  Weights pp(std::string_view name) const;
  Weights pp(int64_t index) const;
  const std::string& prefix() const { return prefix_; }
  const Device& device() const;
  const WeightSource& source() const;

  bool contains(std::string_view name) const;
  /// Dtype and shape without loading; throws NotFound naming the full name.
  const WeightInfo& info(std::string_view name) const;
  /// Loads the tensor in its own dtype, as it lies. @throws NotFound, CorruptData (other shape)
  Tensor get(std::string_view name, const Shape& expected) const;
  /// Whatever shape it has.
  Tensor get(std::string_view name) const;
  /// One tensor [count, ...] made of `name` under pp(0) .. pp(count - 1), stacked without a copy
  /// in host memory: `weights.pp("experts").get_stacked(128, "gate_proj.weight", {768, 2048})`.
  Tensor get_stacked(int64_t count, std::string_view name, const Shape& expected) const;
  /// Marks all names below this prefix as knowingly unused.
  void ignore(std::string_view prefix) const;

  /// Names in the files that were neither read nor ignored.
  std::vector<std::string> unread() const;
  /// Called after every tensor.
  void on_progress(uint64_t total_bytes, LoadProgress progress) const;

 private:
  struct State;
  std::shared_ptr<State> state_;
  std::string prefix_;
};

}  // namespace candela
