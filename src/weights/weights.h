#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/tensor.h"
#include "weights/source.h"

namespace candela {

/// Bytes put on the device so far and in all, while a model loads.
using LoadProgress = std::function<void(uint64_t done, uint64_t total)>;

/// From the name that model code asks for to the name in the file. Names it does not know stay as
/// they are.
using Renamer = std::function<std::string(std::string_view name)>;

/// Lazily loaded tensors under a name prefix (candle's VarBuilder).
///
///     Weights layer = weights.pp("layers").pp(3);
///     Tensor q = layer.get("self_attn.q_proj.weight", {4096, 2048});
///
/// Tensors keep the dtype of the file; BF16 is never widened. On the CPU they lie in the mapped
/// file; on a GPU they are read into its memory, or lie in the file where it shares memory with the
/// host (WgpuOptions::weights). Copies of a Weights share one state,
/// so that the names that nobody read are known in the end. For one thread at a time.
class Weights {
 public:
  Weights(std::shared_ptr<const WeightSource> source, Device device);

  /// Weights of any name and shape, made at random on the device, for measuring speed without a
  /// checkpoint: BF16, normal with the deviation 1/sqrt(inputs); norms are ones and other vectors
  /// zeros. The same numbers for the same seed, name and shape. `contains` is always true.
  static Weights synthetic(Device device, uint64_t seed);
  bool is_synthetic() const;

  /// This set below "prefix.".
  Weights pp(std::string_view name) const;
  Weights pp(int64_t index) const;
  /// This set with every full name put through `rename` before it is looked up, e.g.
  /// "model.layers.0.self_attn.q_proj.weight" -> "blk.0.attn_q.weight". Replaces an earlier one.
  Weights with_renamer(Renamer rename) const;
  const std::string& prefix() const { return prefix_; }
  const Device& device() const;
  /// @throws Unsupported for synthetic weights
  const WeightSource& source() const;

  bool contains(std::string_view name) const;
  /// Dtype and shape without loading. Synthetic weights are BF16; their shape is [] until `get` has
  /// told it, and `bytes` is empty.
  /// @throws NotFound naming the full name and similar ones
  const WeightInfo& info(std::string_view name) const;
  /// Loads the tensor in its own dtype, as it lies.
  /// @throws NotFound, CorruptData (other shape), Unsupported (the device lacks the dtype)
  Tensor get(std::string_view name, const Shape& expected) const;
  /// Whatever shape it has.
  Tensor get(std::string_view name) const;
  /// One tensor [count, ...] made of `name` under pp(0) .. pp(count - 1), stacked without a copy
  /// in host memory: `weights.pp("experts").get_stacked(128, "gate_proj.weight", {768, 2048})`.
  /// If a renamer gives all of them one name, the file's tensor must itself be [count, ...].
  /// @throws as `get`, and CorruptData if the dtypes differ
  Tensor get_stacked(int64_t count, std::string_view name, const Shape& expected) const;
  /// One tensor made of several that differ in their first dimension only, one after the other
  /// without a copy in host memory: query, key and value rows as one matrix.
  /// @throws as `get`, and CorruptData if the dtypes differ
  Tensor get_joined(std::span<const std::string> names, std::span<const Shape> expected) const;
  /// Marks all names below this prefix as knowingly unused; "" means all below this set's own.
  void ignore(std::string_view prefix) const;

  /// Names in the files that were neither read nor ignored, in the order of the files.
  std::vector<std::string> unread() const;
  /// Called after every tensor. @param total_bytes  0: those of the whole source
  void on_progress(uint64_t total_bytes, LoadProgress progress) const;

 private:
  struct State;

  /// This set's prefix before `name`.
  std::string full_name(std::string_view name) const;
  /// The file's tensor for a name that model code uses.
  const WeightInfo& require(std::string_view name) const;
  Tensor load(std::span<const WeightInfo* const> pieces, const Shape& shape) const;

  std::shared_ptr<State> state_;
  std::string prefix_;
  std::shared_ptr<const Renamer> rename_;
};

}  // namespace candela
