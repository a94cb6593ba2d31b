#pragma once

#include <cstddef>
#include <span>

namespace candela {

/// Work that was recorded once and can be run again on the same memory, as often as wanted
/// (Backend::capture). The memory it names lives as long as it does.
class Captured {
 public:
  virtual ~Captured() = default;
};

/// Bytes on their way from the device to the host (Backend::read_later).
class Readback {
 public:
  virtual ~Readback() = default;
  /// Waits and copies them out, once. @throws what the device reported meanwhile
  virtual void wait(std::span<std::byte> data) = 0;
};

}  // namespace candela
