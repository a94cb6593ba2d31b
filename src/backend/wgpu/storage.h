#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "backend/storage.h"
#include "backend/wgpu/api.h"

namespace candela::wgpu {

/// One WebGPU buffer. Never destroyed while bind groups or recorded work may name it: the handle
/// is only released, and a buffer that goes back to the pool stays this very object.
class Buffer {
 public:
  Buffer(Handle<WGPUBuffer> handle, uint64_t capacity, uint64_t id)
      : handle_(std::move(handle)), capacity_(capacity), id_(id) {}

  WGPUBuffer get() const { return handle_.get(); }
  /// Bytes; a multiple of 16.
  uint64_t capacity() const { return capacity_; }
  /// Never given twice; caches name buffers by it.
  uint64_t id() const { return id_; }

  /// The batch that used this buffer last: an upload need not wait for batches that did not.
  uint64_t last_batch = 0;
  /// How often something was written here: what is derived from the contents remembers it.
  uint64_t writes = 0;

 private:
  Handle<WGPUBuffer> handle_;
  uint64_t capacity_;
  uint64_t id_;
};

using BufferPtr = std::shared_ptr<Buffer>;

/// Each segment is one buffer.
class WgpuStorage final : public Storage {
 public:
  WgpuStorage(std::vector<Segment> segments, std::vector<BufferPtr> buffers, std::string label)
      : Storage(std::move(segments)), buffers_(std::move(buffers)), label_(std::move(label)) {}

  const BufferPtr& buffer(size_t segment) const { return buffers_.at(segment); }
  const std::string& label() const { return label_; }

  /// See matrix_exponents in matrix.h.
  struct RowExponents {
    size_t segment = 0;
    uint32_t start = 0, cols = 0;
    uint64_t writes = 0;  ///< of the segment's buffer when they were computed
    View values;
  };
  /// Derived from the contents, not part of them.
  mutable std::vector<RowExponents> row_exponents;

 private:
  std::vector<BufferPtr> buffers_;
  std::string label_;
};

/// @throws Internal  The storage lies on another device.
const WgpuStorage& wgpu_storage(const StoragePtr& storage);

/// Segments of a tensor of `bytes` bytes: none longer than `max_segment`, each but the last a
/// multiple of `split_unit`. An empty tensor has one empty segment.
/// @throws Unsupported  One unit is longer than a segment may be.
std::vector<Storage::Segment> cut_segments(uint64_t bytes,
                                           uint64_t split_unit,
                                           uint64_t max_segment,
                                           const std::string& label);

/// The part of a view that lies in one segment: `view`'s offset counts from the segment's start.
struct SegmentView {
  View view;
  size_t segment = 0;
};

/// If all elements of `view` lie in one segment, that part.
bool locate(const View& view, SegmentView& out);

}  // namespace candela::wgpu
