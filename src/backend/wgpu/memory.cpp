#include <algorithm>
#include <cstring>

#include "backend/wgpu/pool.h"
#include "backend/wgpu/storage.h"
#include "backend/wgpu/wgpu_backend.h"
#include "base/assert.h"
#include "base/error.h"

namespace candela::wgpu {
namespace {

/// Calls f(segment, offset in the segment, offset in the range, bytes) for each segment that
/// [offset, offset + bytes) touches.
template <typename F>
void for_each_segment(const Storage& storage, uint64_t offset, uint64_t bytes, F&& f) {
  const auto segments = storage.segments();
  for (size_t i = 0; i < segments.size(); ++i) {
    const uint64_t begin = std::max(offset, segments[i].begin);
    const uint64_t end = std::min(offset + bytes, segments[i].begin + segments[i].bytes);
    if (begin < end) {
      f(i, begin - segments[i].begin, begin - offset, end - begin);
    }
  }
}

}  // namespace

WgpuBackend::WgpuBackend(const WgpuOptions& options)
    : context_(std::make_unique<Context>(options)),
      stream_(std::make_unique<Stream>(*context_)),
      loader_(std::make_unique<WeightLoader>(*context_, *stream_)) {}

WgpuBackend::~WgpuBackend() = default;

std::string WgpuBackend::name() const {
  const AdapterInfo& adapter = context_->adapter();
  return fmt::format("{} ({}, {})", adapter.name, adapter.backend, context_->api().version);
}

const Limits& WgpuBackend::limits() const {
  return context_->limits();
}
Counters& WgpuBackend::counters() {
  return context_->counters();
}
std::vector<KernelTime> WgpuBackend::take_profile() {
  return stream_->take_profile();
}

StoragePtr WgpuBackend::allocate(uint64_t bytes, uint64_t split_unit, const std::string& label) {
  auto segments = cut_segments(bytes, split_unit, limits().max_binding_bytes, label);
  std::vector<BufferPtr> buffers;
  buffers.reserve(segments.size());
  for (const Storage::Segment& segment : segments) {
    buffers.push_back(context_->pool().acquire(segment.bytes, true, label));
  }
  return std::make_shared<WgpuStorage>(std::move(segments), std::move(buffers), label);
}

Imported WgpuBackend::import_host(std::span<const HostPiece> pieces,
                                  std::shared_ptr<const HostMemory> owner,
                                  uint64_t split_unit,
                                  uint64_t unit,
                                  const std::string& label) {
  return loader_->load(pieces, owner, split_unit, unit, label);
}

WeightPlace WgpuBackend::weight_place() {
  return loader_->place();
}

void WgpuBackend::upload(const StoragePtr& to, uint64_t offset, HostPiece data) {
  const WgpuStorage& storage = wgpu_storage(to);
  CANDELA_ASSERT(offset + data.size() <= storage.bytes(), "an upload exceeds its tensor");
  for_each_segment(storage, offset, data.size(),
                   [&](size_t index, uint64_t at, uint64_t from, uint64_t bytes) {
                     const Operand target{storage.buffer(index), true};
                     const HostPiece part = data.subspan(from, bytes);
                     const bool to_end = at + bytes == storage.segments()[index].bytes;
                     const uint64_t tail = to_end && at % 4 == 0 ? bytes % 4 : 0;
                     stream_->upload(target, at, part.first(bytes - tail));
                     if (tail != 0) {
                       std::byte word[4] = {};
                       std::memcpy(word, part.data() + bytes - tail, tail);
                       stream_->upload(target, at + bytes - tail, word);
                     }
                   });
}

void WgpuBackend::download(const StoragePtr& from, uint64_t offset, std::span<std::byte> data) {
  const WgpuStorage& storage = wgpu_storage(from);
  CANDELA_ASSERT(offset + data.size() <= storage.bytes(), "a read-back exceeds its tensor");
  for_each_segment(storage, offset, data.size(),
                   [&](size_t index, uint64_t at, uint64_t into, uint64_t bytes) {
                     stream_->download({storage.buffer(index)}, at, data.subspan(into, bytes));
                   });
}

std::unique_ptr<Readback> WgpuBackend::read_later(const StoragePtr& from,
                                                  uint64_t offset,
                                                  uint64_t bytes) {
  const WgpuStorage& storage = wgpu_storage(from);
  CANDELA_ASSERT(!storage.is_segmented() && offset + bytes <= storage.bytes(),
                 "a read-back exceeds its tensor");
  return stream_->read_later({storage.buffer(0)}, offset, bytes);
}

std::shared_ptr<const Captured> WgpuBackend::capture(const std::function<void()>& work) {
  return stream_->capture(work);
}
void WgpuBackend::replay(const Captured& work) {
  stream_->replay(work);
}
void WgpuBackend::flush() {
  stream_->flush();
}
void WgpuBackend::synchronize() {
  loader_->finish();
  stream_->synchronize();
}

View WgpuBackend::scratch(const Shape& shape, DType dtype) {
  const auto bytes = static_cast<uint64_t>(dtype_bytes(dtype, shape.elements()));
  return {allocate(bytes, bytes, "scratch"), Layout(shape), dtype};
}

}  // namespace candela::wgpu
