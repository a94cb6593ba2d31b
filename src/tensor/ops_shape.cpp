#include "tensor/call.h"
#include "tensor/ops.h"

namespace candela {

namespace {

// Parts of one dtype whose shapes agree but for `axis`; returns the shape of them all in a row.
Shape joined_shape(const char* op, std::span<const Tensor> parts, int axis) {
  Shape shape = parts[0].shape();
  shape[axis] = 0;
  for (const Tensor& part : parts) {
    const Call call(op, {{"first", &parts[0]}, {"part", &part}});
    call.require_rank(part, parts[0].rank());
    call.require_dtype(part, parts[0].dtype());
    if (is_quantized(part.dtype())) {
      call.unsupported("quantised tensors cannot be joined; convert them with to_dtype");
    }
    shape[axis] += part.dim(axis);
    Shape expected = parts[0].shape();
    expected[axis] = part.dim(axis);
    call.require_shape(part, expected);
  }
  return shape;
}

void require_parts(const char* op, std::span<const Tensor> parts) {
  if (parts.empty()) {
    fail(ErrorKind::InvalidArgument, Subject::Usage, "{}: no tensors were given.", op);
  }
}

}  // namespace

Tensor cat(std::span<const Tensor> parts, int axis) {
  require_parts("cat", parts);
  const Call call("cat", {{"first", &parts[0]}});
  const int at = call.axis(axis, parts[0]);
  const Tensor y = call.output(joined_shape("cat", parts, at), parts[0].dtype());
  int64_t start = 0;
  for (const Tensor& part : parts) {
    call.backend().copy(part.view(), y.narrow(at, start, part.dim(at)).view());
    start += part.dim(at);
  }
  return y;
}

Tensor stack(std::span<const Tensor> parts, int axis) {
  require_parts("stack", parts);
  std::vector<Tensor> raised;
  raised.reserve(parts.size());
  for (const Tensor& part : parts) {
    raised.push_back(part.unsqueeze(axis));
  }
  return cat(raised, axis);
}

Tensor pad(const Tensor& x, int axis, int64_t before, int64_t after, double value) {
  const Call call("pad", {{"x", &x}});
  const int at = call.axis(axis, x);
  if (before < 0 || after < 0) {
    call.invalid("the widths {} and {} have to be positive", before, after);
  }
  if (is_quantized(x.dtype())) {
    call.unsupported("quantised tensors cannot be padded; convert them with to_dtype");
  }
  Shape shape = x.shape();
  shape[at] += before + after;
  const Tensor y = call.output(shape, x.dtype());
  y.narrow(at, 0, before).fill(value);
  y.narrow(at, before + x.dim(at), after).fill(value);
  call.backend().copy(x.view(), y.narrow(at, before, x.dim(at)).view());
  return y;
}

Tensor repeat(const Tensor& x, std::span<const int64_t> times) {
  const Call call("repeat", {{"x", &x}});
  if (static_cast<int>(times.size()) != x.rank()) {
    call.invalid("{} counts were given for {} dimensions", times.size(), x.rank());
  }
  Tensor y = x;
  for (int axis = 0; axis < x.rank(); ++axis) {
    const int64_t count = times[static_cast<size_t>(axis)];
    if (count < 0) {
      call.invalid("the count {} of axis {} is negative", count, axis);
    }
    if (count != 1) {
      const std::vector<Tensor> parts(static_cast<size_t>(count), y);
      y = count == 0 ? y.narrow(axis, 0, 0).copy() : cat(parts, axis);
    }
  }
  return y;
}

}  // namespace candela
