#pragma once

#include <array>
#include <cstdint>

#include "backend/wgpu/elements.h"
#include "backend/wgpu/kernel.h"
#include "backend/wgpu/storage.h"
#include "base/error.h"

namespace candela::wgpu {

/// `struct Six` of common.wgsl: up to six numbers, innermost dimension first.
struct WalkNumbers {
  std::array<uint32_t, 8> values{};
};

inline WalkNumbers walk_sizes(const Layout& layout) {
  WalkNumbers out;
  out.values.fill(1);
  for (int axis = 0; axis < layout.rank(); ++axis) {
    out.values[static_cast<size_t>(layout.rank() - 1 - axis)] =
        narrow_u32(layout.shape[axis], "the size of a dimension");
  }
  return out;
}

inline WalkNumbers walk_strides(const Layout& layout) {
  WalkNumbers out;
  for (int axis = 0; axis < layout.rank(); ++axis) {
    out.values[static_cast<size_t>(layout.rank() - 1 - axis)] =
        narrow_u32(layout.stride(axis), "the stride of a dimension");
  }
  return out;
}

/// `layout` without an axis, at that axis's first element.
inline Layout without_axis(const Layout& layout, int axis) {
  Layout out;
  out.shape = layout.shape.removed(axis);
  out.offset = layout.offset;
  for (int from = 0, to = 0; from < layout.rank(); ++from) {
    if (from != axis) {
      out.strides[static_cast<size_t>(to++)] = layout.stride(from);
    }
  }
  return out;
}

/// Number of a view's float dtype in reals_any.wgsl. @throws Unsupported
inline uint32_t float_kind(const View& view, const char* op) {
  if (!is_float(view.dtype)) {
    fail(ErrorKind::Unsupported, Subject::Device,
         "{}: a tensor of type {} is not supported on WebGPU; convert it to F32, F16 or BF16.", op,
         dtype_name(view.dtype));
  }
  return kind_of(view.dtype);
}

/// A view that one binding holds.
struct Bound {
  SegmentView place;

  /// @throws Unsupported  The view straddles segments.
  Bound(const View& view, const char* op) {
    if (!locate(view, place)) {
      fail(ErrorKind::Unsupported, Subject::Device,
           "{}: a tensor {} of {} bytes is larger than one binding of this WebGPU device; use the "
           "CPU backend or smaller pieces.",
           op, to_string(view.shape()), view.storage->bytes());
    }
  }
  uint32_t offset() const { return narrow_u32(place.view.layout.offset, "the offset of a tensor"); }
  Operand read() const { return in(place.view, place.segment); }
  Operand write() const { return out(place.view, place.segment); }
};

/// Workgroups of 256 threads for one thread an element. @throws Unsupported above 2^32 - 256
inline Grid threads_grid(int64_t elements) {
  narrow_u32(elements + 255, "the number of elements");
  return grid_for(static_cast<uint64_t>(elements + 255) / 256);
}

}  // namespace candela::wgpu
