#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "tensor/ops.h"
#include "tensor/tensor.h"

namespace candela::nn {

/// The pages that hold one sequence's keys and values, and how many positions are filled.
struct KvSequence {
  std::vector<uint32_t> pages;
  std::vector<uint32_t> recent;  ///< of a Q8_16 cache: F16 copies of the last of `pages`
  int64_t length = 0;
};

/// Keys and values of all layers in pages of 64 positions, [page, kv_head, position, dim], shared
/// by any number of sequences. Memory is taken by need: the pool doubles when it is full, up to
/// `max_positions` and as far as one binding holds a layer's keys: 65,536 positions of four BF16
/// heads of 128 are 67 MB, and the smallest binding is 128 MiB.
///
/// A Q8_16 cache also keeps the newest pages of each sequence in F16, those that a forward pass
/// writes and the one before, and attention reads these: near positions count most (Liu et al.
/// 2024, KIVI, section 3.3).
class KvCache {
 public:
  static constexpr int64_t kPage = 64;

  struct Sizes {
    int64_t layers = 0, kv_heads = 0, head_dim = 0;
    DType dtype = DType::BF16;  ///< F32, BF16 or Q8_16 (heads of whole blocks of 32)
    int64_t max_positions = 0;  ///< of all sequences together; 0: no limit of ours
  };

  KvCache(const Sizes& sizes, Device device);

  /// Gives `sequence` pages for `length` positions in all, and takes F16 pages back that are no
  /// longer among its newest.
  /// @throws OutOfMemory naming the length and the limit that it exceeds
  void reserve(KvSequence& sequence, int64_t length);
  /// Hands the sequence's pages back and empties it.
  void release(KvSequence& sequence);

  /// Where a position of the sequence lies: page * kPage + place in the page.
  static int64_t slot_of(const KvSequence& sequence, int64_t position) {
    return sequence.pages[static_cast<size_t>(position / kPage)] * kPage + position % kPage;
  }
  /// The same in the F16 pages, of a new position; 0 if the cache has none.
  static int64_t recent_slot_of(const KvSequence& sequence, int64_t position);
  /// The numbers by which kernels find the sequence's pages, see RecentPages.
  static std::vector<uint32_t> page_table(const KvSequence& sequence);

  const Tensor& keys(int64_t layer) const { return keys_[static_cast<size_t>(layer)].pages; }
  const Tensor& values(int64_t layer) const { return values_[static_cast<size_t>(layer)].pages; }
  /// The F16 pages of a Q8_16 cache, without slots.
  std::optional<RecentTensors> recent(int64_t layer) const;
  /// Bytes that one position takes in all layers, F16 pages not counted.
  int64_t bytes_per_position() const { return bytes_per_position(sizes_); }
  static int64_t bytes_per_position(const Sizes& sizes);
  /// Bytes that the F16 pages take when forward passes have `tokens` new positions.
  static int64_t recent_bytes(const Sizes& sizes, int64_t tokens);
  int64_t capacity() const { return capacity_.pages * kPage; }
  /// Changes when the tensors of `keys` and `values` do.
  int64_t generation() const { return generation_; }

 private:
  struct Capacity {
    int64_t pages = 0, recent = 0;
  };
  /// Keys or values of a layer, in one memory.
  struct Pool {
    Tensor pages, recent;
  };

  bool keeps_recent() const { return sizes_.dtype == DType::Q8_16; }
  /// Takes pages back that are no longer recent.
  void drop_old(KvSequence& sequence);
  /// What max_positions and the largest binding of the device allow.
  int64_t most_pages(int64_t recent) const;
  void check(const Capacity& least) const;
  void grow(const Capacity& least);
  Pool enlarged(const Pool& old, const Capacity& to, const char* label) const;

  Sizes sizes_;
  Device device_;
  Capacity capacity_;
  int64_t generation_ = 0;
  std::vector<uint32_t> free_, free_recent_;
  std::vector<Pool> keys_, values_;
};

}  // namespace candela::nn
