#include <algorithm>

#include "backend/wgpu/walk.h"
#include "backend/wgpu/wgpu_backend.h"
#include "base/error.h"

namespace candela::wgpu {
namespace {

struct RandomParams {
  uint32_t base_low, base_high, begin, end, seed_low, seed_high;
  float shift, scale;
};

constexpr uint64_t kElementsPerGroup = uint64_t{256} * 8;

}  // namespace

void WgpuBackend::random(RandomKind kind, uint64_t seed, float a, float b, const View& y) {
  if (y.elements() == 0) {
    return;
  }
  if (!is_float(y.dtype)) {
    fail(ErrorKind::Unsupported, Subject::Device,
         "random: a tensor of type {} is not supported on WebGPU; use F32 or BF16.",
         dtype_name(y.dtype));
  }
  if (y.dtype == DType::F16 || !y.layout.is_contiguous()) {
    const View numbers = scratch(y.shape(), DType::F32);
    random(kind, seed, a, b, numbers);
    copy(numbers, y);
    return;
  }
  KernelId kernel{"random"};
  if (kind == RandomKind::normal) {
    kernel.defines.emplace_back("NORMAL");
  }
  if (y.dtype == DType::BF16) {
    kernel.defines.emplace_back("HALF");
  }
  const auto size = static_cast<uint64_t>(block_bytes(y.dtype));
  const auto first = static_cast<uint64_t>(y.layout.offset);
  const uint64_t last = first + static_cast<uint64_t>(y.elements());
  const auto segments = y.storage->segments();
  for (size_t i = 0; i < segments.size(); ++i) {
    const uint64_t start = segments[i].begin / size;
    const uint64_t begin = std::max(first, start);
    const uint64_t end = std::min(last, start + segments[i].bytes / size);
    if (begin >= end) {
      continue;
    }
    // May be "negative": positions before the first element are not written.
    const uint64_t base = start - first;
    RandomParams params{};
    params.base_low = static_cast<uint32_t>(base);
    params.base_high = static_cast<uint32_t>(base >> 32);
    params.begin = narrow_u32(static_cast<int64_t>(begin - start), "the offset of a tensor");
    params.end = narrow_u32(static_cast<int64_t>(end - start + 8), "the end of a tensor") - 8;
    params.seed_low = static_cast<uint32_t>(seed);
    params.seed_high = static_cast<uint32_t>(seed >> 32);
    params.shift = a;
    params.scale = kind == RandomKind::uniform ? b - a : b;
    KernelId variant = kernel;
    if (base % 4 != 0) {
      variant.defines.emplace_back("ODD");
    }
    const uint64_t elements = params.end - (params.begin & ~7u);
    stream_->dispatch(variant, grid_for((elements + kElementsPerGroup - 1) / kElementsPerGroup),
                      params, {out(y, i)});
  }
}

}  // namespace candela::wgpu
