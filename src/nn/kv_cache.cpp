#include "nn/kv_cache.h"

#include <algorithm>

#include "backend/op_args.h"
#include "base/error.h"

namespace candela::nn {

namespace {

constexpr DType kRecentType = DType::F16;

int64_t pages_for(int64_t positions) {
  return (positions + KvCache::kPage - 1) / KvCache::kPage;
}

/// Of the pages of `sequence`, the first one that has to be kept as recent.
int64_t first_recent(const KvSequence& sequence) {
  return std::max<int64_t>(sequence.length / KvCache::kPage - 1, 0);
}

int64_t bytes_of_page(const KvCache::Sizes& sizes, DType dtype) {
  return dtype_bytes(dtype, sizes.kv_heads * KvCache::kPage * sizes.head_dim);
}

void take(std::vector<uint32_t>& free, int64_t count, std::vector<uint32_t>& pages) {
  for (int64_t i = 0; i < count; ++i) {
    pages.push_back(free.back());
    free.pop_back();
  }
}

/// Pages from `begin` to `end` become free, low ones first, so that a lone sequence lies in order.
void add_free(std::vector<uint32_t>& free, int64_t begin, int64_t end) {
  for (int64_t page = begin; page < end; ++page) {
    free.push_back(static_cast<uint32_t>(page));
  }
  std::ranges::sort(free, std::greater<>());
}

}  // namespace

KvCache::KvCache(const Sizes& sizes, Device device) : sizes_(sizes), device_(std::move(device)) {
  if (sizes.dtype != DType::F32 && sizes.dtype != DType::BF16 && sizes.dtype != DType::Q8_16) {
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

int64_t KvCache::bytes_per_position(const Sizes& sizes) {
  return 2 * sizes.layers * sizes.kv_heads * dtype_bytes(sizes.dtype, sizes.head_dim);
}

int64_t KvCache::recent_bytes(const Sizes& sizes, int64_t tokens) {
  const int64_t pages = sizes.dtype == DType::Q8_16 ? pages_for(tokens) + 2 : 0;
  return 2 * sizes.layers * pages * bytes_of_page(sizes, kRecentType);
}

int64_t KvCache::recent_slot_of(const KvSequence& sequence, int64_t position) {
  const auto behind = static_cast<int64_t>(sequence.pages.size()) - position / kPage;
  const auto at = static_cast<int64_t>(sequence.recent.size()) - behind;
  return at < 0 ? 0 : sequence.recent[static_cast<size_t>(at)] * kPage + position % kPage;
}

std::vector<uint32_t> KvCache::page_table(const KvSequence& sequence) {
  std::vector<uint32_t> numbers = sequence.pages;
  std::ranges::transform(sequence.recent, numbers.end() - std::ssize(sequence.recent),
                         [](uint32_t page) { return page | RecentPages::kFlag; });
  return numbers;
}

std::optional<RecentTensors> KvCache::recent(int64_t layer) const {
  if (!keeps_recent()) {
    return std::nullopt;
  }
  const auto at = static_cast<size_t>(layer);
  return RecentTensors{keys_[at].recent, values_[at].recent, {}};
}

void KvCache::reserve(KvSequence& sequence, int64_t length) {
  const auto missing_of = [](int64_t wanted, const std::vector<uint32_t>& pages) {
    return std::max<int64_t>(wanted - std::ssize(pages), 0);
  };
  const int64_t missing = missing_of(pages_for(length), sequence.pages);
  int64_t recent = 0;
  if (keeps_recent()) {
    drop_old(sequence);
    recent = missing_of(pages_for(length) - first_recent(sequence), sequence.recent);
  }
  if (missing > std::ssize(free_) || recent > std::ssize(free_recent_)) {
    grow({capacity_.pages + missing_of(missing, free_),
          capacity_.recent + missing_of(recent, free_recent_)});
  }
  take(free_, missing, sequence.pages);
  take(free_recent_, recent, sequence.recent);
}

void KvCache::drop_old(KvSequence& sequence) {
  const int64_t first = std::ssize(sequence.pages) - std::ssize(sequence.recent);
  const auto end = sequence.recent.begin() + std::max<int64_t>(first_recent(sequence) - first, 0);
  free_recent_.insert(free_recent_.end(), sequence.recent.begin(), end);
  sequence.recent.erase(sequence.recent.begin(), end);
}

void KvCache::release(KvSequence& sequence) {
  free_.insert(free_.end(), sequence.pages.rbegin(), sequence.pages.rend());
  free_recent_.insert(free_recent_.end(), sequence.recent.rbegin(), sequence.recent.rend());
  sequence = {};
}

int64_t KvCache::most_pages(int64_t recent) const {
  const int64_t limit = sizes_.max_positions == 0 ? INT64_MAX : pages_for(sizes_.max_positions);
  const auto binding = static_cast<int64_t>(device_.limits().max_binding_bytes);
  const int64_t left = binding - recent * bytes_of_page(sizes_, kRecentType);
  return binding == 0 ? limit : std::min(limit, left / bytes_of_page(sizes_, sizes_.dtype));
}

void KvCache::check(const Capacity& least) const {
  if (sizes_.max_positions != 0 && least.pages > pages_for(sizes_.max_positions)) {
    fail(ErrorKind::OutOfMemory, Subject::Usage,
         "The KV cache would need {} positions, the limit is {}; use a shorter prompt, fewer new "
         "tokens or a larger --ctx-size.",
         least.pages * kPage, sizes_.max_positions);
  }
  const int64_t limit = most_pages(least.recent);
  if (least.pages > limit) {
    fail(ErrorKind::OutOfMemory, Subject::Device,
         "The KV cache would need {} positions, and one binding of this device ({} bytes) holds {} "
         "in {}; use a shorter prompt, fewer sequences or a smaller --kv-type.",
         least.pages * kPage, device_.limits().max_binding_bytes, limit * kPage,
         dtype_name(sizes_.dtype));
  }
}

KvCache::Pool KvCache::enlarged(const Pool& old, const Capacity& to, const char* label) const {
  const int64_t page = bytes_of_page(sizes_, sizes_.dtype);
  const int64_t recent = bytes_of_page(sizes_, kRecentType);
  const auto shape = [&](int64_t pages) {
    return Shape{pages, sizes_.kv_heads, kPage, sizes_.head_dim};
  };
  const int64_t bytes = to.pages * page + to.recent * recent;
  const Tensor all = Tensor::empty({bytes / 4}, DType::U32, device_, label);
  const Pool larger{all.reinterpret(sizes_.dtype, shape(to.pages)),
                    all.reinterpret(kRecentType, shape(to.recent), to.pages * page)};
  // After an allocation that failed midway some pools are larger than the capacity.
  const auto keep = [](const Tensor& from, const Tensor& to_pages, int64_t size) {
    if (size > 0) {
      const Shape words{size / 4};
      to_pages.reinterpret(DType::U32, words).copy_from(from.reinterpret(DType::U32, words));
    }
  };
  keep(old.pages, larger.pages, capacity_.pages * page);
  keep(old.recent, larger.recent, capacity_.recent * recent);
  return larger;
}

void KvCache::grow(const Capacity& least) {
  check(least);
  Capacity now = capacity_;
  if (least.recent > now.recent) {
    now.recent = std::max(least.recent, 2 * capacity_.recent);
  }
  if (least.pages > most_pages(now.recent)) {
    now.recent = least.recent;
  }
  if (least.pages > now.pages) {
    now.pages =
        std::min(most_pages(now.recent), std::max({least.pages, 2 * capacity_.pages, int64_t{4}}));
  }
  for (auto* pools : {&keys_, &values_}) {
    pools->resize(static_cast<size_t>(sizes_.layers));
    for (Pool& pool : *pools) {
      pool = enlarged(pool, now, pools == &keys_ ? "key cache" : "value cache");
    }
  }
  add_free(free_, capacity_.pages, now.pages);
  add_free(free_recent_, capacity_.recent, now.recent);
  capacity_ = now;
  ++generation_;
}

}  // namespace candela::nn
