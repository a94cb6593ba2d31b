#include "nn/kv_cache.h"

#include <algorithm>

#include "base/error.h"

namespace candela::nn {

namespace {

int64_t pages_for(int64_t positions) {
  return (positions + KvCache::kPage - 1) / KvCache::kPage;
}

/// The same memory as words: what is copied without a look at its blocks.
Tensor as_words(const Tensor& x) {
  const int64_t words = dtype_bytes(x.dtype(), x.elements()) / 4;
  return {View{x.view().storage, Layout(Shape{words}), DType::U32}, x.device()};
}

}  // namespace

KvCache::KvCache(const Sizes& sizes, Device device) : sizes_(sizes), device_(std::move(device)) {
  if (sizes.dtype != DType::F32 && sizes.dtype != DType::BF16 && sizes.dtype != DType::Q8_0) {
    fail(ErrorKind::InvalidArgument, Subject::Usage,
         "The KV cache cannot hold {}; use --kv-type f32, bf16 or q8.", dtype_name(sizes.dtype));
  }
  if (sizes.head_dim % block_elements(sizes.dtype) != 0) {
    fail(ErrorKind::Unsupported, Subject::Usage,
         "Heads of {} dimensions are no whole blocks of 32 as --kv-type q8 needs them; use f32 or "
         "bf16.",
         sizes.head_dim);
  }
}

int64_t KvCache::bytes_per_position() const {
  return 2 * sizes_.layers * sizes_.kv_heads * dtype_bytes(sizes_.dtype, sizes_.head_dim);
}

int64_t KvCache::page_bytes() const {
  return dtype_bytes(sizes_.dtype, sizes_.kv_heads * kPage * sizes_.head_dim);
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

int64_t KvCache::most_pages() const {
  const int64_t limit = sizes_.max_positions == 0 ? INT64_MAX : pages_for(sizes_.max_positions);
  const auto binding = static_cast<int64_t>(device_.limits().max_binding_bytes);
  return binding == 0 ? limit : std::min(limit, binding / page_bytes());
}

void KvCache::grow(int64_t pages) {
  if (sizes_.max_positions != 0 && pages > pages_for(sizes_.max_positions)) {
    fail(ErrorKind::OutOfMemory, Subject::Usage,
         "The KV cache would need {} positions, the limit is {}; use a shorter prompt, fewer new "
         "tokens or a larger --ctx-size.",
         pages * kPage, sizes_.max_positions);
  }
  const int64_t limit = most_pages();
  if (pages > limit) {
    fail(ErrorKind::OutOfMemory, Subject::Device,
         "The KV cache would need {} positions, and one binding of this device ({} bytes) holds {} "
         "in {}; use a shorter prompt, fewer sequences or a smaller --kv-type.",
         pages * kPage, device_.limits().max_binding_bytes, limit * kPage,
         dtype_name(sizes_.dtype));
  }
  const int64_t capacity = std::min(limit, std::max({pages, 2 * capacity_pages_, int64_t{4}}));
  const Shape shape{capacity, sizes_.kv_heads, kPage, sizes_.head_dim};
  const auto enlarge = [&](std::vector<Tensor>& tensors, const char* label) {
    tensors.resize(static_cast<size_t>(sizes_.layers));
    for (Tensor& tensor : tensors) {
      Tensor larger = Tensor::empty(shape, sizes_.dtype, device_, label);
      if (tensor.defined()) {
        // After an allocation that failed midway some tensors are larger than the capacity.
        const int64_t words = capacity_pages_ * page_bytes() / 4;
        as_words(larger).narrow(0, 0, words).copy_from(as_words(tensor).narrow(0, 0, words));
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
