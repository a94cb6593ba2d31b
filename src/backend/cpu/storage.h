#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend/limits.h"
#include "backend/storage.h"

namespace candela::cpu {

/// Host memory: one block of our own, or borrowed pieces that are only read (mapped weight files).
class CpuStorage final : public Storage {
 public:
  /// Uninitialised, aligned to 64 bytes. @throws OutOfMemory naming `label`
  static std::shared_ptr<CpuStorage> allocate(uint64_t bytes,
                                              const std::string& label,
                                              std::shared_ptr<Counters> counters);
  /// Keeps `owner` alive and copies nothing. Pieces that follow each other in memory become one.
  static std::shared_ptr<CpuStorage> borrow(std::span<const HostPiece> pieces,
                                            std::shared_ptr<const HostMemory> owner,
                                            const std::string& label,
                                            std::shared_ptr<Counters> counters);
  ~CpuStorage() override;

  /// The memory from byte `offset` on, up to the end of its segment.
  HostPiece from(uint64_t offset) const;
  /// First byte of a storage of one segment.
  const std::byte* data() const { return pieces_[0]; }
  /// The same to write to. @throws Unsupported if the memory is borrowed
  std::byte* writable() const;
  const std::string& label() const { return label_; }

 private:
  struct Release {
    void operator()(std::byte* memory) const;
  };

  CpuStorage(std::vector<Segment> segments, std::string label, std::shared_ptr<Counters> counters);

  std::vector<const std::byte*> pieces_;  // one for each segment
  std::unique_ptr<std::byte, Release> own_;
  std::shared_ptr<const HostMemory> owner_;
  std::string label_;
  std::shared_ptr<Counters> counters_;
};

/// The storage behind a view; Internal error if it belongs to another backend.
const CpuStorage& storage_of(const View& view);

/// First byte of the storage (the view's offset is not applied).
/// @throws Unsupported naming the op if the storage has several segments
const std::byte* input(const View& view, const char* op);
/// The same to write to.
std::byte* output(const View& view, const char* op);

/// Fails with Unsupported: "`op` does not take `dtype` ...".
[[noreturn]] void fail_dtype(const char* op, DType dtype);

/// Bytes before element `index` of a row-major walk; block types need whole blocks.
int64_t byte_offset(DType dtype, int64_t index);

}  // namespace candela::cpu
