#include "backend/wgpu/storage.h"

#include <algorithm>

#include "backend/wgpu/kernel.h"
#include "base/assert.h"
#include "base/error.h"

namespace candela::wgpu {

const WgpuStorage& wgpu_storage(const StoragePtr& storage) {
  const auto* mine = dynamic_cast<const WgpuStorage*>(storage.get());
  CANDELA_ASSERT(mine != nullptr, "a WebGPU op got a tensor of another device");
  return *mine;
}

std::vector<Storage::Segment> cut_segments(uint64_t bytes,
                                           uint64_t split_unit,
                                           uint64_t max_segment,
                                           const std::string& label) {
  const uint64_t unit = std::max<uint64_t>(split_unit, 1);
  if (bytes <= max_segment) {
    return {{0, bytes}};
  }
  if (unit > max_segment) {
    fail(ErrorKind::Unsupported, Subject::Device,
         "The tensor {} has rows of {} bytes, and this WebGPU device binds at most {} bytes at "
         "once; use the CPU backend or a device with larger bindings.",
         label, unit, max_segment);
  }
  const uint64_t step = max_segment / unit * unit;
  std::vector<Storage::Segment> segments;
  for (uint64_t begin = 0; begin < bytes; begin += step) {
    segments.push_back({begin, std::min(step, bytes - begin)});
  }
  return segments;
}

bool locate(const View& view, SegmentView& out) {
  const auto segments = view.storage->segments();
  out.view = view;
  out.segment = 0;
  if (segments.size() <= 1) {
    return true;
  }
  const int64_t block = block_elements(view.dtype);
  const auto bytes_at = [&](int64_t element) {
    return static_cast<uint64_t>(element / block * block_bytes(view.dtype));
  };
  const uint64_t first = bytes_at(view.layout.offset);
  const uint64_t last = bytes_at(std::max(view.layout.end(), view.layout.offset + 1) - 1);
  const auto after = std::upper_bound(
      segments.begin(), segments.end(), first,
      [](uint64_t at, const Storage::Segment& segment) { return at < segment.begin; });
  const Storage::Segment& segment = *(after - 1);
  if (last >= segment.begin + segment.bytes) {
    return false;
  }
  out.segment = static_cast<size_t>(after - 1 - segments.begin());
  out.view.layout.offset -= static_cast<int64_t>(segment.begin) / block_bytes(view.dtype) * block;
  return true;
}

Operand in(const View& view, size_t segment) {
  return {wgpu_storage(view.storage).buffer(segment), false};
}

Operand out(const View& view, size_t segment) {
  return {wgpu_storage(view.storage).buffer(segment), true};
}

Grid grid_for(uint64_t count) {
  constexpr uint64_t kMax = 65535;
  if (count <= kMax) {
    return {static_cast<uint32_t>(count), 1, 1};
  }
  const uint64_t rows = (count + kMax - 1) / kMax;
  if (rows > kMax) {
    fail(ErrorKind::Unsupported, Subject::Device,
         "An operation of {} workgroups exceeds what one WebGPU dispatch can do.", count);
  }
  return {static_cast<uint32_t>((count + rows - 1) / rows), static_cast<uint32_t>(rows), 1};
}

Grid counted_grid(const View& numbers, uint32_t at) {
  return {0, 1, 1, wgpu_storage(numbers.storage).buffer(0),
          (static_cast<uint64_t>(numbers.layout.offset) + at) * sizeof(uint32_t)};
}

uint32_t narrow_u32(int64_t value, const char* what) {
  if (value < 0 || value > INT64_C(0xffffffff)) {
    fail(ErrorKind::Unsupported, Subject::Device,
         "The {} {} does not fit the 32-bit indices of a WebGPU kernel; split the tensor.", what,
         value);
  }
  return static_cast<uint32_t>(value);
}

}  // namespace candela::wgpu
