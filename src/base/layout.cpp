#include "base/layout.h"

#include <algorithm>
#include <limits>

#include "base/error.h"

namespace candela {

namespace {

[[noreturn]] void invalid(const std::string& text) {
  throw Error(ErrorKind::InvalidArgument, Subject::Usage, text);
}

int checked_axis(int axis, int rank) {
  const int normal = axis < 0 ? axis + rank : axis;
  if (normal < 0 || normal >= rank) {
    invalid(fmt::format("Axis {} is outside of a tensor with {} dimensions.", axis, rank));
  }
  return normal;
}

}  // namespace

Shape::Shape(std::span<const int64_t> dims) {
  if (dims.size() > kMaxRank) {
    invalid(fmt::format("A tensor has at most {} dimensions, {} were asked for.", kMaxRank,
                        dims.size()));
  }
  rank_ = static_cast<int>(dims.size());
  for (size_t i = 0; i < dims.size(); ++i) {
    if (dims[i] < 0) {
      invalid(fmt::format("Dimension {} has the negative size {}.", i, dims[i]));
    }
    dims_[i] = dims[i];
  }
}

int Shape::index(int axis) const {
  return checked_axis(axis, rank_);
}

int64_t Shape::elements() const {
  int64_t total = 1;
  for (const int64_t dim : dims()) {
    if (__builtin_mul_overflow(total, dim, &total)) {
      invalid(fmt::format("The shape {} has more than 2^63 elements.", to_string(*this)));
    }
  }
  return total;
}

Shape Shape::inserted(int axis, int64_t size) const {
  std::array<int64_t, kMaxRank + 1> dims{};
  const int at = checked_axis(axis, rank_ + 1);
  std::copy_n(dims_.begin(), at, dims.begin());
  dims[static_cast<size_t>(at)] = size;
  std::copy_n(dims_.begin() + at, rank_ - at, dims.begin() + at + 1);
  return Shape(std::span<const int64_t>(dims.data(), static_cast<size_t>(rank_) + 1));
}

Shape Shape::removed(int axis) const {
  Shape out = *this;
  const int at = checked_axis(axis, rank_);
  std::copy(dims_.begin() + at + 1, dims_.begin() + rank_, out.dims_.begin() + at);
  out.dims_[static_cast<size_t>(rank_) - 1] = 0;
  --out.rank_;
  return out;
}

bool Shape::operator==(const Shape& other) const {
  return std::ranges::equal(dims(), other.dims());
}

std::string to_string(const Shape& shape) {
  return fmt::format("[{}]", fmt::join(shape.dims(), ", "));
}

Layout::Layout(const Shape& dims, int64_t start) : shape(dims), offset(start) {
  int64_t step = 1;
  for (int axis = rank() - 1; axis >= 0; --axis) {
    strides[static_cast<size_t>(axis)] = step;
    step *= std::max<int64_t>(shape[axis], 1);
  }
}

bool Layout::is_contiguous() const {
  int64_t step = 1;
  for (int axis = rank() - 1; axis >= 0; --axis) {
    if (shape[axis] == 0) {
      return true;
    }
    if (shape[axis] != 1 && stride(axis) != step) {
      return false;
    }
    step *= shape[axis];
  }
  return true;
}

int64_t Layout::end() const {
  int64_t last = offset;
  for (int axis = 0; axis < rank(); ++axis) {
    if (shape[axis] == 0) {
      return 0;
    }
    last += (shape[axis] - 1) * stride(axis);
  }
  return last + 1;
}

Layout Layout::narrow(int axis, int64_t start, int64_t length) const {
  const int at = checked_axis(axis, rank());
  if (start < 0 || length < 0 || start > shape[at] - length) {
    invalid(fmt::format("narrow: positions {} to {} are outside of axis {} of shape {}.", start,
                        start + length, at, to_string(shape)));
  }
  Layout out = *this;
  out.shape[at] = length;
  out.offset += start * stride(at);
  return out;
}

Layout Layout::permute(std::span<const int> axes) const {
  if (static_cast<int>(axes.size()) != rank()) {
    invalid(
        fmt::format("permute: {} axes were given for shape {}.", axes.size(), to_string(shape)));
  }
  Layout out = *this;
  std::array<bool, kMaxRank> seen{};
  for (size_t i = 0; i < axes.size(); ++i) {
    const auto from = static_cast<size_t>(checked_axis(axes[i], rank()));
    if (seen[from]) {
      invalid(fmt::format("permute: axis {} appears twice.", axes[i]));
    }
    seen[from] = true;
    out.shape[static_cast<int>(i)] = shape[static_cast<int>(from)];
    out.strides[i] = strides[from];
  }
  return out;
}

Layout Layout::transpose(int a, int b) const {
  Layout out = *this;
  const auto i = static_cast<size_t>(checked_axis(a, rank()));
  const auto j = static_cast<size_t>(checked_axis(b, rank()));
  std::swap(out.strides[i], out.strides[j]);
  std::swap(out.shape[static_cast<int>(i)], out.shape[static_cast<int>(j)]);
  return out;
}

Layout Layout::broadcast_to(const Shape& target) const {
  if (target.rank() < rank()) {
    invalid(fmt::format("broadcast: shape {} does not fit into {}.", to_string(shape),
                        to_string(target)));
  }
  Layout out;
  out.shape = target;
  out.offset = offset;
  const int extra = target.rank() - rank();
  for (int axis = 0; axis < rank(); ++axis) {
    const bool same = shape[axis] == target[axis + extra];
    if (!same && shape[axis] != 1) {
      invalid(fmt::format("broadcast: shape {} does not fit into {}.", to_string(shape),
                          to_string(target)));
    }
    const int to = axis + extra;
    out.strides[static_cast<size_t>(to)] = same ? stride(axis) : 0;
  }
  return out;
}

Layout Layout::squeeze(int axis) const {
  const int at = checked_axis(axis, rank());
  if (shape[at] != 1) {
    invalid(fmt::format("squeeze: axis {} of shape {} is not 1.", at, to_string(shape)));
  }
  Layout out = *this;
  out.shape = shape.removed(at);
  std::copy(strides.begin() + at + 1, strides.begin() + rank(), out.strides.begin() + at);
  return out;
}

Layout Layout::unsqueeze(int axis) const {
  const int at = checked_axis(axis, rank() + 1);
  Layout out = *this;
  out.shape = shape.inserted(at, 1);
  std::copy(strides.begin() + at, strides.begin() + rank(), out.strides.begin() + at + 1);
  out.strides[static_cast<size_t>(at)] = at < rank() ? stride(at) * shape[at] : 1;
  return out;
}

bool Layout::reshape(const Shape& target, Layout& out) const {
  out = Layout(target, offset);
  if (is_contiguous()) {
    return true;
  }
  // Walk both shapes in groups of equal product; inside a group the source must be one run.
  const Layout from = merged();
  int axis = 0;
  int64_t left = from.shape[0];
  for (int i = 0; i < target.rank(); ++i) {
    if (target[i] == 1) {
      continue;
    }
    if (left == 1 && axis + 1 < from.rank()) {
      left = from.shape[++axis];
    }
    if (left % target[i] != 0) {
      return false;
    }
    left /= target[i];
    out.strides[static_cast<size_t>(i)] = left * from.stride(axis);
  }
  return true;
}

Layout Layout::merged() const {
  Layout one[] = {*this};
  merge_together(one);
  return one[0];
}

void merge_together(std::span<Layout> layouts) {
  const Layout first = layouts[0];
  const int rank = first.rank();
  std::array<int, kMaxRank> kept{};
  int count = 0;
  Shape shape = first.shape;
  auto joins = [&](int outer, int inner) {
    return std::ranges::all_of(layouts, [&](const Layout& layout) {
      return layout.stride(outer) == layout.stride(inner) * shape[inner];
    });
  };
  for (int axis = 0; axis < rank; ++axis) {
    if (shape[axis] == 1) {
      continue;
    }
    if (count > 0 && joins(kept[static_cast<size_t>(count) - 1], axis)) {
      shape[axis] *= shape[kept[static_cast<size_t>(count) - 1]];
      kept[static_cast<size_t>(count) - 1] = axis;
    } else {
      kept[static_cast<size_t>(count++)] = axis;
    }
  }
  for (Layout& layout : layouts) {
    Layout out;
    out.offset = layout.offset;
    std::array<int64_t, kMaxRank> dims{};
    for (int i = 0; i < count; ++i) {
      const int axis = kept[static_cast<size_t>(i)];
      dims[static_cast<size_t>(i)] = shape[axis];
      out.strides[static_cast<size_t>(i)] = layout.stride(axis);
    }
    if (count == 0) {
      dims[0] = first.elements();
      out.strides[0] = 1;
    }
    out.shape =
        Shape(std::span<const int64_t>(dims.data(), static_cast<size_t>(std::max(count, 1))));
    layout = out;
  }
}

Shape broadcast_shapes(const Shape& a, const Shape& b) {
  const Shape& longer = a.rank() >= b.rank() ? a : b;
  const Shape& shorter = a.rank() >= b.rank() ? b : a;
  Shape out = longer;
  const int extra = longer.rank() - shorter.rank();
  for (int axis = 0; axis < shorter.rank(); ++axis) {
    const int64_t x = longer[axis + extra];
    const int64_t y = shorter[axis];
    if (x != y && x != 1 && y != 1) {
      invalid(fmt::format("Shapes {} and {} cannot be broadcast together.", to_string(a),
                          to_string(b)));
    }
    out[axis + extra] = x == 1 ? y : x;
  }
  return out;
}

}  // namespace candela
