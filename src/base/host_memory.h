#pragma once

#include <cstddef>
#include <cstring>
#include <span>

namespace candela {

/// Bytes in host memory, usually inside a mapped file.
using HostPiece = std::span<const std::byte>;

/// Host memory that a device reads: in place, keeping this object alive, or by copying.
class HostMemory {
 public:
  virtual ~HostMemory() = default;
  /// Copies `from`, a piece of this memory, to `to`. Several threads may call at once.
  /// @throws Io, CorruptData  The memory is a file that cannot be read or has become shorter.
  virtual void read(HostPiece from, std::byte* to) const = 0;
  /// Whether the pages at both ends of any piece belong to this memory whole, as those of a
  /// mapped file do: a device that takes only whole pages can then read it in place.
  virtual bool has_whole_pages() const = 0;
};

/// Copies a piece of memory that may have an owner.
inline void read_host(const HostMemory* owner, HostPiece from, std::byte* to) {
  if (owner != nullptr) {
    owner->read(from, to);
  } else if (!from.empty()) {
    std::memcpy(to, from.data(), from.size());
  }
}

}  // namespace candela
