#include "nn/kv_cache.h"

#include <algorithm>

#include "base/error.h"

namespace candela::nn {

namespace {

int64_t pages_for(int64_t positions) {
  return (positions + KvCache::kPage - 1) / KvCache::kPage;
}

}  // namespace

KvCache::KvCache(const Sizes& sizes, Device device) : sizes_(sizes), device_(std::move(device)) {
  if (sizes.dtype != DType::F32 && sizes.dtype != DType::BF16) {
    fail(ErrorKind::InvalidArgument, Subject::Usage,
         "The KV cache cannot hold {}; use --kv-type f32 or bf16.", dtype_name(sizes.dtype));
  }
}

int64_t KvCache::bytes_per_position() const {
  return 2 * sizes_.layers * sizes_.kv_heads * dtype_bytes(sizes_.dtype, sizes_.head_dim);
}

void KvCache::reserve(KvSequence& sequence, int64_t length) {
  const int64_t missing = pages_for(length) - static_cast<int64_t>(sequence.pages.size());
  if (missing > static_cast<int64_t>(free_.size())) {
    grow(capacity_pages_ + missing - static_cast<int64_t>(free_.size()));
  }
  for (int64_t i = 0; i < missing; ++i) {
    sequence.pages.push_back(free_.back());
    free_.pop_back();
  }
}

void KvCache::release(KvSequence& sequence) {
  free_.insert(free_.end(), sequence.pages.rbegin(), sequence.pages.rend());
  sequence = {};
}

void KvCache::grow(int64_t pages) {
  const int64_t limit = sizes_.max_positions == 0 ? INT64_MAX : pages_for(sizes_.max_positions);
  if (pages > limit) {
    fail(ErrorKind::OutOfMemory, Subject::Usage,
         "The KV cache would need {} positions, the limit is {}; use a shorter prompt, fewer new "
         "tokens or a larger --ctx-size.",
         pages * kPage, sizes_.max_positions);
  }
  const int64_t capacity = std::min(limit, std::max({pages, 2 * capacity_pages_, int64_t{4}}));
  const Shape shape{capacity, sizes_.kv_heads, kPage, sizes_.head_dim};
  const auto enlarge = [&](std::vector<Tensor>& tensors, const char* label) {
    tensors.resize(static_cast<size_t>(sizes_.layers));
    for (Tensor& tensor : tensors) {
      Tensor larger = Tensor::empty(shape, sizes_.dtype, device_, label);
      if (tensor.defined()) {
        // After an allocation that failed midway some tensors are larger than the capacity.
        larger.narrow(0, 0, capacity_pages_).copy_from(tensor.narrow(0, 0, capacity_pages_));
      }
      tensor = std::move(larger);
    }
  };
  enlarge(keys_, "key cache");
  enlarge(values_, "value cache");
  for (int64_t page = capacity - 1; page >= capacity_pages_; --page) {
    free_.push_back(static_cast<uint32_t>(page));
  }
  // Low pages first, so that a lone sequence lies in order.
  std::ranges::sort(free_, std::greater<>());
  capacity_pages_ = capacity;
}

}  // namespace candela::nn
