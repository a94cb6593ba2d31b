#pragma once

#include <cstdint>
#include <span>

#include "backend/wgpu/storage.h"

namespace candela::wgpu {

class Context;

/// Maps a buffer of usage MapRead, waits, and copies bytes [offset, offset + data.size()) out;
/// offset a multiple of 8.
void read_mapped(Context& context,
                 const Buffer& staging,
                 uint64_t offset,
                 std::span<std::byte> data);

}  // namespace candela::wgpu
