#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "backend/wgpu/storage.h"

namespace candela::wgpu {

class Context;

/// A buffer of usage MapRead whose first bytes are wanted on the host. Asking does not wait.
class MapRequest {
 public:
  MapRequest(Context& context, BufferPtr staging, uint64_t bytes);
  ~MapRequest();
  MapRequest(const MapRequest&) = delete;
  MapRequest& operator=(const MapRequest&) = delete;

  /// Waits and copies the bytes out, once; the buffer is free again afterwards.
  /// @throws what the device reported meanwhile
  void wait(std::span<std::byte> data);

 private:
  struct Reply;

  Context& context_;
  BufferPtr staging_;
  std::shared_ptr<Reply> reply_;  ///< shared with the library's callback, which may come late
};

}  // namespace candela::wgpu
