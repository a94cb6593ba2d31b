#include "backend/cpu/storage.h"

#include <algorithm>
#include <atomic>
#include <new>

#include "base/assert.h"
#include "base/error.h"

namespace candela::cpu {

namespace {

constexpr std::align_val_t kAlignment{64};

// Tensors may die on another thread than the one that made them.
void add(uint64_t& counter, uint64_t bytes) {
  std::atomic_ref(counter).fetch_add(bytes);
}
void subtract(uint64_t& counter, uint64_t bytes) {
  std::atomic_ref(counter).fetch_sub(bytes);
}

void count_new(Counters& counters, uint64_t bytes) {
  add(counters.bytes_in_use, bytes);
  const uint64_t now = std::atomic_ref(counters.bytes_in_use).load();
  std::atomic_ref peak(counters.bytes_peak);
  uint64_t before = peak.load();
  while (before < now && !peak.compare_exchange_weak(before, now)) {
  }
}

}  // namespace

void CpuStorage::Release::operator()(std::byte* memory) const {
  ::operator delete(memory, kAlignment);
}

CpuStorage::CpuStorage(std::vector<Segment> segments,
                       std::string label,
                       std::shared_ptr<Counters> counters)
    : Storage(std::move(segments)), label_(std::move(label)), counters_(std::move(counters)) {
  count_new(*counters_, bytes());
}

CpuStorage::~CpuStorage() {
  subtract(counters_->bytes_in_use, bytes());
  if (own_) {
    subtract(counters_->bytes_reserved, bytes());
  }
}

std::shared_ptr<CpuStorage> CpuStorage::allocate(uint64_t bytes,
                                                 const std::string& label,
                                                 std::shared_ptr<Counters> counters) {
  // The tail is padded so that a vector load of the last element stays inside.
  void* memory = nullptr;
  if (bytes <= uint64_t{1} << 62) {
    memory = ::operator new(static_cast<size_t>(bytes) + 64, kAlignment, std::nothrow);
  }
  if (memory == nullptr) {
    fail(ErrorKind::OutOfMemory, Subject::Device,
         "{} bytes of host memory for {} cannot be allocated.", bytes, label);
  }
  std::unique_ptr<std::byte, Release> own(static_cast<std::byte*>(memory));
  std::shared_ptr<CpuStorage> storage(
      new CpuStorage({Segment{0, bytes}}, label, std::move(counters)));
  storage->pieces_ = {own.get()};
  storage->own_ = std::move(own);
  add(storage->counters_->bytes_reserved, bytes);
  add(storage->counters_->allocations, 1);
  return storage;
}

std::shared_ptr<CpuStorage> CpuStorage::borrow(std::span<const HostPiece> pieces,
                                               std::shared_ptr<const HostMemory> owner,
                                               const std::string& label,
                                               std::shared_ptr<Counters> counters) {
  std::vector<Segment> segments;
  std::vector<const std::byte*> starts;
  for (const HostPiece& piece : pieces) {
    if (piece.empty()) {
      continue;
    }
    if (!starts.empty() && starts.back() + segments.back().bytes == piece.data()) {
      segments.back().bytes += piece.size();
      continue;
    }
    const uint64_t begin = segments.empty() ? 0 : segments.back().begin + segments.back().bytes;
    segments.push_back({begin, piece.size()});
    starts.push_back(piece.data());
  }
  if (segments.empty()) {
    return allocate(0, label, std::move(counters));
  }
  std::shared_ptr<CpuStorage> storage(
      new CpuStorage(std::move(segments), label, std::move(counters)));
  storage->pieces_ = std::move(starts);
  storage->owner_ = std::move(owner);
  return storage;
}

HostPiece CpuStorage::from(uint64_t offset) const {
  const auto all = segments();
  size_t at = 0;
  if (all.size() > 1) {
    const auto after = std::upper_bound(
        all.begin(), all.end(), offset,
        [](uint64_t value, const Segment& segment) { return value < segment.begin; });
    at = static_cast<size_t>(after - all.begin()) - 1;
  }
  const uint64_t inside = offset - all[at].begin;
  CANDELA_ASSERT(inside <= all[at].bytes, "a view reaches past its storage");
  return {pieces_[at] + inside, static_cast<size_t>(all[at].bytes - inside)};
}

std::byte* CpuStorage::writable() const {
  if (!own_) {
    fail(ErrorKind::Unsupported, Subject::Device,
         "{} lies in a mapped file and cannot be written to; copy it first.", label_);
  }
  return own_.get();
}

const CpuStorage& storage_of(const View& view) {
  const auto* storage = dynamic_cast<const CpuStorage*>(view.storage.get());
  CANDELA_ASSERT(storage != nullptr, "a view of another device reached the CPU");
  CANDELA_ASSERT(
      static_cast<uint64_t>(dtype_bytes(view.dtype, view.layout.end())) <= storage->bytes(),
      "a view reaches past its storage");
  return *storage;
}

const std::byte* input(const View& view, const char* op) {
  const CpuStorage& storage = storage_of(view);
  if (storage.is_segmented()) {
    fail(ErrorKind::Unsupported, Subject::Device,
         "{} does not read {}, which lies in {} separate pieces; copy it first.", op,
         storage.label(), storage.segments().size());
  }
  return storage.data();
}

std::byte* output(const View& view, const char*) {
  return storage_of(view).writable();
}

void fail_dtype(const char* op, DType dtype) {
  fail(ErrorKind::Unsupported, Subject::Device, "{} does not take {} on the CPU.", op,
       dtype_name(dtype));
}

int64_t byte_offset(DType dtype, int64_t index) {
  const int64_t block = block_elements(dtype);
  if (index % block != 0) {
    fail(ErrorKind::Unsupported, Subject::Device,
         "Element {} of a {} tensor is not the first of its block of {}.", index, dtype_name(dtype),
         block);
  }
  return index / block * block_bytes(dtype);
}

}  // namespace candela::cpu
