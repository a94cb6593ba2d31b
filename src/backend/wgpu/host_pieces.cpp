#include "backend/wgpu/host_pieces.h"

#include <algorithm>

namespace candela::wgpu {

HostPieces::HostPieces(std::span<const HostPiece> pieces, const HostMemory* owner) : owner_(owner) {
  for (const HostPiece piece : pieces) {
    if (piece.empty()) {
      continue;
    }
    if (!pieces_.empty() && pieces_.back().data() + pieces_.back().size() == piece.data()) {
      pieces_.back() = {pieces_.back().data(), pieces_.back().size() + piece.size()};
    } else {
      pieces_.push_back(piece);
      begins_.push_back(bytes_);
    }
    bytes_ += piece.size();
  }
}

void HostPieces::read(uint64_t offset, uint64_t count, std::byte* to) const {
  const auto after = std::ranges::upper_bound(begins_, offset);
  for (auto at = static_cast<size_t>(after - begins_.begin()) - 1; count > 0; ++at) {
    const uint64_t skip = offset - begins_[at];
    const uint64_t part = std::min<uint64_t>(count, pieces_[at].size() - skip);
    read_host(owner_, pieces_[at].subspan(skip, part), to);
    offset += part;
    count -= part;
    to += part;
  }
}

}  // namespace candela::wgpu
