#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "tensor/ops.h"
#include "tensor/transfer.h"

namespace candela {

namespace {

// torch's defaults: summarise beyond 1,000 elements, three at each edge, four digits, 80 columns.
constexpr int64_t kThreshold = 1000;
constexpr int64_t kEdge = 3;
constexpr size_t kLine = 80;

// Only the edges cross from the device to the host.
Tensor edges(const Tensor& x) {
  Tensor out = x;
  for (int axis = 0; axis < x.rank(); ++axis) {
    if (x.dim(axis) > 2 * kEdge) {
      const Tensor parts[] = {out.narrow(axis, 0, kEdge),
                              out.narrow(axis, x.dim(axis) - kEdge, kEdge)};
      out = cat(parts, axis);
    }
  }
  return out;
}

// One format for all numbers of a tensor, so that columns line up.
class Format {
 public:
  Format(std::span<const double> values, bool integers) : integers_(integers) {
    double low = 0.0;
    double high = 0.0;
    bool whole = true;
    for (const double value : values) {
      if (!std::isfinite(value) || value == 0.0) {
        continue;
      }
      const double size = std::fabs(value);
      low = low == 0.0 ? size : std::min(low, size);
      high = std::max(high, size);
      whole = whole && value == std::floor(value);
    }
    whole_ = whole;
    scientific_ = high > 1e8 || (!whole && (low < 1e-4 || high / low > 1000.0));
    for (const double value : values) {
      width_ = std::max(width_, plain(value).size());
    }
  }

  std::string operator()(double value) const { return fmt::format("{:>{}}", plain(value), width_); }

 private:
  std::string plain(double value) const {
    if (integers_) {
      return fmt::format("{:.0f}", value);
    }
    if (!std::isfinite(value)) {
      return fmt::format("{}", value);
    }
    if (scientific_) {
      return fmt::format("{:.4e}", value);
    }
    return whole_ ? fmt::format("{:.0f}.", value) : fmt::format("{:.4f}", value);
  }

  bool integers_;
  bool whole_ = true;
  bool scientific_ = false;
  size_t width_ = 0;
};

class Printer {
 public:
  Printer(const Tensor& x, const Shape& full)
      : shape_(x.shape()),
        full_(full),
        values_(to_doubles(x.to_bytes(), x.dtype(), x.elements())),
        format_(values_, is_integer(x.dtype())) {}

  std::string text() { return part(0, 7); }

 private:
  bool is_cut(int axis) const { return shape_[axis] != full_[axis]; }

  std::string part(int axis, size_t indent) {
    if (axis == shape_.rank()) {
      return format_(values_[next_++]);
    }
    return axis == shape_.rank() - 1 ? row(indent + 1) : block(axis, indent + 1);
  }

  std::string row(size_t indent) {
    std::string out = "[";
    size_t column = indent;
    for (int64_t i = 0; i < shape_[-1]; ++i) {
      std::string item = format_(values_[next_++]);
      if (is_cut(shape_.rank() - 1) && i == kEdge) {
        item.insert(0, "..., ");
      }
      if (i > 0) {
        const bool wrap = column + item.size() + 2 > kLine;
        out += wrap ? ",\n" + std::string(indent, ' ') : ", ";
        column = wrap ? indent : column + 2;
      }
      out += item;
      column += item.size();
    }
    return out + "]";
  }

  std::string block(int axis, size_t indent) {
    // A blank line between matrices, two between stacks of them.
    const std::string gap = "," + std::string(static_cast<size_t>(shape_.rank() - 1 - axis), '\n') +
                            std::string(indent, ' ');
    std::string out = "[";
    for (int64_t i = 0; i < shape_[axis]; ++i) {
      if (i > 0) {
        out += gap;
      }
      if (is_cut(axis) && i == kEdge) {
        out += "..." + gap;
      }
      out += part(axis + 1, indent);
    }
    return out + "]";
  }

  Shape shape_;
  Shape full_;
  std::vector<double> values_;
  Format format_;
  size_t next_ = 0;
};

}  // namespace

std::string to_string(const Tensor& tensor) {
  if (!tensor.defined()) {
    return "tensor(undefined)";
  }
  const std::string tail = fmt::format("dtype={}, shape={}, device={}", dtype_name(tensor.dtype()),
                                       to_string(tensor.shape()), tensor.device().name());
  if (is_quantized(tensor.dtype())) {
    return fmt::format("tensor(blocks, {})", tail);
  }
  const Tensor shown = tensor.elements() > kThreshold ? edges(tensor) : tensor;
  return fmt::format("tensor({}, {})", Printer(shown, tensor.shape()).text(), tail);
}

}  // namespace candela
