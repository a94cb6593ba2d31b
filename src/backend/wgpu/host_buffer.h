#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "backend/device.h"
#include "backend/wgpu/storage.h"

namespace candela::wgpu {

class Context;

/// What pointers and sizes of host memory must be multiples of to become a buffer.
uint64_t host_page();

/// A buffer that is `pages`, which the device only reads; Dawn alone can do that.
/// @param keep  lives until the device no longer needs the pages
/// @param own   whether the pages count as reserved memory, as those of a mapped file do not
BufferPtr bind_pages(Context& context,
                     HostPiece pages,
                     std::shared_ptr<const void> keep,
                     bool own,
                     const std::string& label);

/// Host memory that is filled once and then is a buffer.
class HostBuffer {
 public:
  /// At least `bytes` of zeros. @throws OutOfMemory naming `label`
  HostBuffer(Context& context, uint64_t bytes, const std::string& label);
  std::byte* memory() const { return memory_; }
  /// Ends the filling.
  BufferPtr finish();

 private:
  Context& context_;
  std::string label_;
  uint64_t bytes_;
  std::byte* memory_ = nullptr;
  std::shared_ptr<const void> block_;  ///< Dawn
  BufferPtr mapped_;                   ///< wgpu-native
};

/// Whether kernels read host memory rightly on this driver: tried with one page on a device of its
/// own, because some drivers lose the device.
/// @param page    of a file; empty: memory is allocated
/// @param reason  set if not
bool reads_host_memory(const WgpuOptions& options, HostPiece page, std::string& reason);

}  // namespace candela::wgpu
