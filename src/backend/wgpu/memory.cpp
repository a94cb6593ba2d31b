#include <algorithm>
#include <cstring>

#include "backend/wgpu/pool.h"
#include "backend/wgpu/storage.h"
#include "backend/wgpu/wgpu_backend.h"
#include "base/assert.h"
#include "base/error.h"

namespace candela::wgpu {
namespace {

constexpr uint64_t kImportChunk = UINT64_C(16) << 20;

/// Reads pieces of host memory as one run of bytes.
class PieceReader {
 public:
  explicit PieceReader(std::span<const HostPiece> pieces) : pieces_(pieces) {}

  uint64_t total() const {
    uint64_t bytes = 0;
    for (const HostPiece& piece : pieces_) {
      bytes += piece.size();
    }
    return bytes;
  }

  /// The next `bytes` bytes: in place if one piece holds them, else gathered. Zeros past the end.
  HostPiece next(uint64_t bytes) {
    skip_empty();
    if (index_ < pieces_.size() && pieces_[index_].size() - at_ >= bytes) {
      const HostPiece whole = pieces_[index_].subspan(at_, bytes);
      at_ += bytes;
      return whole;
    }
    gathered_.assign(bytes, std::byte{0});
    uint64_t done = 0;
    while (done < bytes) {
      skip_empty();
      if (index_ == pieces_.size()) {
        break;
      }
      const uint64_t part = std::min<uint64_t>(bytes - done, pieces_[index_].size() - at_);
      std::memcpy(gathered_.data() + done, pieces_[index_].data() + at_, part);
      at_ += part;
      done += part;
    }
    return gathered_;
  }

 private:
  void skip_empty() {
    while (index_ < pieces_.size() && at_ == pieces_[index_].size()) {
      ++index_;
      at_ = 0;
    }
  }

  std::span<const HostPiece> pieces_;
  size_t index_ = 0;
  uint64_t at_ = 0;
  std::vector<std::byte> gathered_;
};

StoragePtr make_storage(
    Context& context, uint64_t bytes, uint64_t split_unit, bool pooled, const std::string& label) {
  auto segments = cut_segments(bytes, split_unit, context.limits().max_binding_bytes, label);
  std::vector<BufferPtr> buffers;
  for (const Storage::Segment& segment : segments) {
    buffers.push_back(context.pool().acquire(segment.bytes, pooled, label));
  }
  return std::make_shared<WgpuStorage>(std::move(segments), std::move(buffers), label);
}

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
    : context_(std::make_unique<Context>(options)), stream_(std::make_unique<Stream>(*context_)) {}

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
  return make_storage(*context_, bytes, split_unit, true, label);
}

StoragePtr WgpuBackend::import_host(std::span<const HostPiece> pieces,
                                    std::shared_ptr<const void>,
                                    uint64_t split_unit,
                                    const std::string& label) {
  PieceReader reader(pieces);
  StoragePtr storage = make_storage(*context_, reader.total(), split_unit, false, label);
  for (size_t i = 0; i < storage->segments().size(); ++i) {
    const uint64_t bytes = storage->segments()[i].bytes;
    const Operand to{wgpu_storage(storage).buffer(i), true};
    for (uint64_t at = 0; at < bytes; at += kImportChunk) {
      const uint64_t part = std::min(kImportChunk, bytes - at);
      HostPiece chunk = reader.next(part);
      stream_->upload(to, at, chunk.first(part / 4 * 4));
      if (part % 4 != 0) {
        // The end of a segment: what follows in its last word is nobody's.
        std::byte word[4] = {};
        std::memcpy(word, chunk.data() + part / 4 * 4, part % 4);
        stream_->upload(to, at + part / 4 * 4, word);
      }
    }
  }
  return storage;
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
  stream_->synchronize();
}

View WgpuBackend::scratch(const Shape& shape, DType dtype) {
  const auto bytes = static_cast<uint64_t>(dtype_bytes(dtype, shape.elements()));
  return {allocate(bytes, bytes, "scratch"), Layout(shape), dtype};
}

}  // namespace candela::wgpu
