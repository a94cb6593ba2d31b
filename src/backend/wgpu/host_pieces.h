#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/host_memory.h"

namespace candela::wgpu {

/// Pieces of host memory read as one run of bytes, from several threads.
class HostPieces {
 public:
  /// Empty pieces are left out; pieces that follow each other in memory become one.
  HostPieces(std::span<const HostPiece> pieces, const HostMemory* owner);

  uint64_t bytes() const { return bytes_; }
  /// Whether the bytes lie one after the other in memory.
  bool is_one_run() const { return pieces_.size() == 1; }
  HostPiece first() const { return pieces_.empty() ? HostPiece() : pieces_.front(); }
  /// Copies bytes [offset, offset + count). @throws what the owner throws
  void read(uint64_t offset, uint64_t count, std::byte* to) const;

 private:
  std::vector<HostPiece> pieces_;
  std::vector<uint64_t> begins_;  ///< of each piece in the run
  uint64_t bytes_ = 0;
  const HostMemory* owner_;
};

}  // namespace candela::wgpu
