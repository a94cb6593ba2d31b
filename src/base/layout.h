#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

namespace candela {

inline constexpr int kMaxRank = 6;

/// Sizes of a tensor, outermost first. A value type: at most six dimensions, no heap.
class Shape {
 public:
  Shape() = default;
  Shape(std::initializer_list<int64_t> dims)
      : Shape(std::span<const int64_t>(dims.begin(), dims.size())) {}
  explicit Shape(std::span<const int64_t> dims);

  int rank() const { return rank_; }
  /// Size of an axis; negative axes count from the end.
  int64_t operator[](int axis) const { return dims_[static_cast<size_t>(index(axis))]; }
  int64_t& operator[](int axis) { return dims_[static_cast<size_t>(index(axis))]; }
  std::span<const int64_t> dims() const { return {dims_.data(), static_cast<size_t>(rank_)}; }
  /// Product of all sizes; 1 for a scalar. Overflow is an InvalidArgument error.
  int64_t elements() const;
  /// This shape with `size` put before position `axis`.
  Shape inserted(int axis, int64_t size) const;
  /// This shape without position `axis`.
  Shape removed(int axis) const;

  bool operator==(const Shape& other) const;

 private:
  int index(int axis) const;

  std::array<int64_t, kMaxRank> dims_{};
  int rank_ = 0;
};

/// "[2, 3]"
std::string to_string(const Shape& shape);

/// Where the elements of a tensor lie: sizes, strides and start, all counted in elements.
/// Stride 0 repeats one element (broadcasting). Strides are never negative.
struct Layout {
  Shape shape;
  std::array<int64_t, kMaxRank> strides{};
  int64_t offset = 0;

  Layout() = default;
  /// Row-major and gapless from `offset` on.
  explicit Layout(const Shape& dims, int64_t start = 0);

  int rank() const { return shape.rank(); }
  int64_t stride(int axis) const {
    return strides[static_cast<size_t>(axis < 0 ? axis + rank() : axis)];
  }
  int64_t elements() const { return shape.elements(); }
  /// True if the elements lie gapless in row-major order (from any offset).
  bool is_contiguous() const;
  /// One past the largest element index touched; 0 if empty.
  int64_t end() const;

  Layout narrow(int axis, int64_t start, int64_t length) const;
  Layout permute(std::span<const int> axes) const;
  Layout transpose(int a, int b) const;
  Layout broadcast_to(const Shape& target) const;
  Layout squeeze(int axis) const;
  Layout unsqueeze(int axis) const;
  /// The same elements under another shape if no copy is needed; false if one is.
  bool reshape(const Shape& target, Layout& out) const;

  /// Fewest dimensions that describe the same walk: sizes of one dropped, neighbours that lie
  /// gapless joined. At least one dimension remains.
  Layout merged() const;
};

/// Joins dimensions of several layouts of one shape together, wherever all allow it.
void merge_together(std::span<Layout> layouts);

/// Result shape of numpy-style broadcasting; throws InvalidArgument naming both shapes.
Shape broadcast_shapes(const Shape& a, const Shape& b);

}  // namespace candela
