#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/dtype.h"
#include "base/host_memory.h"
#include "base/layout.h"

namespace candela {

/// Bytes of one tensor (or several views of it) on one device.
///
/// A storage is one segment, or several when the tensor exceeds what the device can bind at once
/// or lies scattered in mapped files (experts stacked from single tensors). Segments follow each
/// other without gaps in the tensor's own row-major order and are cut between rows of
/// `split_unit` bytes. Only ops that read weights, plus copy, fill and read-back, accept more than
/// one segment; all others throw Unsupported.
class Storage {
 public:
  /// One piece of the tensor: bytes [begin, begin + bytes).
  struct Segment {
    uint64_t begin = 0;
    uint64_t bytes = 0;
  };

  virtual ~Storage() = default;
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  uint64_t bytes() const {
    return segments_.empty() ? 0 : segments_.back().begin + segments_.back().bytes;
  }
  std::span<const Segment> segments() const { return segments_; }
  bool is_segmented() const { return segments_.size() > 1; }

 protected:
  explicit Storage(std::vector<Segment> segments) : segments_(std::move(segments)) {}

 private:
  std::vector<Segment> segments_;
};

using StoragePtr = std::shared_ptr<Storage>;

/// A storage made of host memory. The tensor begins `offset` bytes into it: a device that reads
/// whole pages in place also holds what lies before.
struct Imported {
  StoragePtr storage;
  uint64_t offset = 0;
};

/// A storage seen through a layout: all that crosses the backend interface.
struct View {
  StoragePtr storage;
  Layout layout;
  DType dtype = DType::F32;

  const Shape& shape() const { return layout.shape; }
  int rank() const { return layout.rank(); }
  int64_t dim(int axis) const { return layout.shape[axis]; }
  int64_t elements() const { return layout.elements(); }
};

}  // namespace candela
