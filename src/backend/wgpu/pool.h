#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "backend/limits.h"
#include "backend/wgpu/storage.h"

namespace candela::wgpu {

class Context;

/// Buffers by size class, reused when their last reference drops: the queue runs in order, so
/// that a later use cannot overtake an earlier one.
class Pool : public std::enable_shared_from_this<Pool> {
 public:
  explicit Pool(Context& context) : context_(context) {}

  /// A storage buffer of at least `bytes`. Not pooled: of just that size, released at the end.
  /// @throws OutOfMemory naming `label`, with size and budget
  BufferPtr acquire(uint64_t bytes, bool pooled, const std::string& label);
  /// A buffer of another usage; not pooled, and not counted as in use.
  /// @param mapped  whether it is mapped at creation
  BufferPtr make(uint64_t bytes,
                 WGPUBufferUsage usage,
                 const std::string& label,
                 bool mapped = false);
  /// A storage buffer that is host memory, not pooled: what `descriptor` says beside its label.
  /// @param own  whether that memory counts as reserved, as pages of a mapped file do not
  BufferPtr make_host(const WGPUBufferDescriptor& descriptor, bool own, const std::string& label);
  /// Gives the kept buffers back to the driver.
  void trim();
  /// Ids of buffers that were given back since the last call: caches must forget them.
  std::vector<uint64_t> take_retired();

  /// Eight steps an octave: at most an eighth is wasted.
  static uint64_t size_class(uint64_t bytes);

 private:
  /// Auxiliary buffers belong to no storage and do not count as in use; pages of mapped files do
  /// not count as reserved.
  enum class Kind { Pooled, Exact, FilePages, Auxiliary };

  std::unique_ptr<Buffer> take_free(uint64_t capacity);
  void give_back(std::unique_ptr<Buffer> buffer, Kind kind);
  void retire(std::unique_ptr<Buffer> buffer, Kind kind);
  std::unique_ptr<Buffer> create(WGPUBufferDescriptor descriptor,
                                 Kind kind,
                                 const std::string& label);
  void check_budget(uint64_t bytes, Kind kind, const std::string& label);
  BufferPtr share(std::unique_ptr<Buffer> buffer, Kind kind);

  Context& context_;
  std::mutex mutex_;
  std::map<uint64_t, std::vector<std::unique_ptr<Buffer>>> free_;
  uint64_t free_bytes_ = 0;
  uint64_t next_id_ = 1;
  std::vector<uint64_t> retired_;
};

}  // namespace candela::wgpu
