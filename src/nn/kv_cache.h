#pragma once

#include <cstdint>
#include <vector>

#include "tensor/tensor.h"

namespace candela::nn {

/// The pages that hold one sequence's keys and values, and how many positions are filled.
struct KvSequence {
  std::vector<uint32_t> pages;
  int64_t length = 0;
};

/// Keys and values of all layers in pages of 64 positions, [page, kv_head, position, dim], shared
/// by any number of sequences. Memory is taken by need: the pool doubles when it is full, up to
/// `max_positions` and as far as one binding holds a layer's keys: 65,536 positions of four BF16
/// heads of 128 are 67 MB, and the smallest binding is 128 MiB.
class KvCache {
 public:
  static constexpr int64_t kPage = 64;

  struct Sizes {
    int64_t layers = 0, kv_heads = 0, head_dim = 0;
    DType dtype = DType::BF16;  ///< F32, BF16 or Q8_0 (heads of whole blocks of 32)
    int64_t max_positions = 0;  ///< of all sequences together; 0: no limit of ours
  };

  KvCache(const Sizes& sizes, Device device);

  /// Gives `sequence` pages for `length` positions in all.
  /// @throws OutOfMemory naming the length and the limit that it exceeds
  void reserve(KvSequence& sequence, int64_t length);
  /// Hands the sequence's pages back and empties it.
  void release(KvSequence& sequence);

  /// Where a position of the sequence lies: page * kPage + place in the page.
  static int64_t slot_of(const KvSequence& sequence, int64_t position) {
    return sequence.pages[static_cast<size_t>(position / kPage)] * kPage + position % kPage;
  }

  const Tensor& keys(int64_t layer) const { return keys_[static_cast<size_t>(layer)]; }
  const Tensor& values(int64_t layer) const { return values_[static_cast<size_t>(layer)]; }
  /// Bytes that one position takes in all layers.
  int64_t bytes_per_position() const;
  int64_t capacity() const { return capacity_pages_ * kPage; }
  /// Changes when the tensors of `keys` and `values` do.
  int64_t generation() const { return capacity_pages_; }

 private:
  /// Of the keys or the values of one layer.
  int64_t page_bytes() const;
  /// What max_positions and the largest binding of the device allow.
  int64_t most_pages() const;
  void grow(int64_t pages);

  Sizes sizes_;
  Device device_;
  int64_t capacity_pages_ = 0;
  std::vector<uint32_t> free_;
  std::vector<Tensor> keys_, values_;
};

}  // namespace candela::nn
