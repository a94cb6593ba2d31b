#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "backend/storage.h"

namespace candela::cpu {

/// Elements converted at once on the way through F32: the buffers stay in the first cache.
inline constexpr int64_t kChunk = 512;
/// Elements worth a thread's attention.
inline constexpr int64_t kGrain = 16384;

/// Rows of about kGrain elements together.
inline int64_t row_grain(int64_t row_elements) {
  return std::max<int64_t>(1, kGrain / std::max<int64_t>(1, row_elements));
}

/// Walks elements [begin, end), counted row-major, of layouts that share a shape: calls
/// `body(offsets, count)` for runs along the last dimension, offsets in elements.
template <size_t N, typename Body>
void walk_runs(const std::array<Layout, N>& layouts, int64_t begin, int64_t end, Body&& body) {
  const Shape& shape = layouts[0].shape;
  const int last = shape.rank() - 1;
  const int64_t length = shape[last];
  while (begin < end) {
    int64_t rest = begin / length;
    const int64_t inside = begin % length;
    const int64_t count = std::min(length - inside, end - begin);
    std::array<int64_t, N> offsets{};
    for (size_t i = 0; i < N; ++i) {
      offsets[i] = layouts[i].offset + inside * layouts[i].stride(last);
    }
    for (int axis = last - 1; axis >= 0 && rest > 0; --axis) {
      const int64_t at = rest % shape[axis];
      rest /= shape[axis];
      for (size_t i = 0; i < N; ++i) {
        offsets[i] += at * layouts[i].stride(axis);
      }
    }
    body(offsets, count);
    begin += count;
  }
}

/// The layouts of several views of one shape with dimensions joined where all allow it.
template <typename... Views>
std::array<Layout, sizeof...(Views)> merged_layouts(const Views&... views) {
  std::array<Layout, sizeof...(Views)> layouts = {views.layout...};
  merge_together(layouts);
  return layouts;
}

/// Offset of row `row` of a layout, rows being all dimensions but the last.
inline int64_t row_offset(const Layout& layout, int64_t row) {
  int64_t offset = layout.offset;
  for (int axis = layout.rank() - 2; axis >= 0 && row > 0; --axis) {
    offset += row % layout.shape[axis] * layout.stride(axis);
    row /= layout.shape[axis];
  }
  return offset;
}

/// Number of those rows; 0 if any of their dimensions is.
inline int64_t row_count(const Layout& layout) {
  int64_t rows = 1;
  for (int axis = 0; axis + 1 < layout.rank(); ++axis) {
    rows *= layout.shape[axis];
  }
  return rows;
}

/// Offset of element `index` (row-major) of a layout.
inline int64_t element_offset(const Layout& layout, int64_t index) {
  int64_t offset = layout.offset;
  for (int axis = layout.rank() - 1; axis >= 0 && index > 0; --axis) {
    offset += index % layout.shape[axis] * layout.stride(axis);
    index /= layout.shape[axis];
  }
  return offset;
}

/// to[i] = element offset + i * stride of a float tensor at `data`, as F32.
/// @throws Unsupported naming the op for other types
void load_floats(const char* op,
                 DType dtype,
                 const std::byte* data,
                 int64_t offset,
                 int64_t stride,
                 int64_t count,
                 float* to);

/// The way back, rounding to nearest even.
void store_floats(const char* op,
                  const float* from,
                  DType dtype,
                  std::byte* data,
                  int64_t offset,
                  int64_t stride,
                  int64_t count);

/// Floats in place where they are gapless F32, else converted into `buffer`.
inline const float* floats_of(const char* op,
                              DType dtype,
                              const std::byte* data,
                              int64_t offset,
                              int64_t stride,
                              int64_t count,
                              float* buffer) {
  if (dtype == DType::F32 && stride == 1) {
    return reinterpret_cast<const float*>(data) + offset;
  }
  load_floats(op, dtype, data, offset, stride, count, buffer);
  return buffer;
}

/// A row being written: in place where y is gapless F32, else through a buffer stored by `done`.
class FloatRow {
 public:
  FloatRow(const char* op, const View& y, std::byte* data)
      : op_(op),
        dtype_(y.dtype),
        data_(data),
        stride_(y.rank() > 0 ? y.layout.stride(-1) : 1),
        count_(y.rank() > 0 ? y.dim(-1) : 1),
        buffer_(in_place() ? 0 : static_cast<size_t>(count_)) {}

  float* at(int64_t offset) {
    return in_place() ? reinterpret_cast<float*>(data_) + offset : buffer_.data();
  }
  void done(int64_t offset) {
    if (!in_place()) {
      store_floats(op_, buffer_.data(), dtype_, data_, offset, stride_, count_);
    }
  }

 private:
  bool in_place() const { return dtype_ == DType::F32 && stride_ == 1; }

  const char* op_;
  DType dtype_;
  std::byte* data_;
  int64_t stride_, count_;
  std::vector<float> buffer_;
};

/// All elements of a small view (a bias, norm weights) as F32, row-major.
std::vector<float> all_floats(const char* op, const View& view);

/// All elements of a U32 view, row-major.
std::vector<uint32_t> all_ids(const char* op, const View& view);

/// Fails with InvalidArgument: id `id` at `position` must be below `limit`.
[[noreturn]] void fail_id(const char* op, uint64_t id, int64_t position, int64_t limit);

/// Rows of a [rows, n] view as gapless floats, in place where possible.
class FloatRows {
 public:
  FloatRows(const char* op, const View& view);
  std::span<const float* const> rows() const { return rows_; }

 private:
  std::vector<float> packed_;
  std::vector<const float*> rows_;
};

}  // namespace candela::cpu
