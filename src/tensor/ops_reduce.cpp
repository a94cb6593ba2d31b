#include <limits>

#include "tensor/call.h"
#include "tensor/ops.h"

namespace candela {

namespace {

Shape reduced_shape(const Tensor& x, int axis, bool keepdim) {
  if (!keepdim) {
    return x.shape().removed(axis);
  }
  Shape shape = x.shape();
  shape[axis] = 1;
  return shape;
}

void require_elements(const Call& call, const Tensor& x, int axis) {
  if (x.dim(axis) == 0) {
    call.invalid("axis {} is empty and has no such value", axis);
  }
}

Tensor reduce(const char* op, ReduceKind kind, const Tensor& x, int axis, bool keepdim) {
  const Call call(op, {{"x", &x}});
  call.require_float(x);
  const int at = call.axis(axis, x);
  if (kind != ReduceKind::sum) {
    require_elements(call, x, at);
  }
  const Tensor y = call.output(x.shape().removed(at));
  call.backend().reduce(kind, axis_last(x, at).view(), y.view());
  return y.reshape(reduced_shape(x, at, keepdim));
}

Tensor arg_reduce(const char* op, ReduceKind kind, const Tensor& x, int axis, bool keepdim) {
  const Call call(op, {{"x", &x}});
  const int at = call.axis(axis, x);
  require_elements(call, x, at);
  const Tensor y = call.output(x.shape().removed(at), DType::U32);
  call.backend().arg_reduce(kind, axis_last(as_f32(call, x), at).view(), y.view());
  return y.reshape(reduced_shape(x, at, keepdim));
}

// Ops over the last dimension that keep the shape: other axes go through permuted views.
template <typename Run>
Tensor along(const char* op, const Tensor& x, int axis, Run run) {
  const Call call(op, {{"x", &x}});
  const int at = call.axis(axis, x);
  const Tensor last = axis_last(as_f32(call, x), at);
  const Tensor y = call.output(last.shape());
  run(call.backend(), last.view(), y.view());
  return axis_back(y, at);
}

}  // namespace

Tensor sum(const Tensor& x, int axis, bool keepdim) {
  return reduce("sum", ReduceKind::sum, x, axis, keepdim);
}
Tensor mean(const Tensor& x, int axis, bool keepdim) {
  return reduce("mean", ReduceKind::mean, x, axis, keepdim);
}
Tensor max(const Tensor& x, int axis, bool keepdim) {
  return reduce("max", ReduceKind::max, x, axis, keepdim);
}
Tensor min(const Tensor& x, int axis, bool keepdim) {
  return reduce("min", ReduceKind::min, x, axis, keepdim);
}

Tensor var(const Tensor& x, int axis, bool keepdim) {
  const Call call("var", {{"x", &x}});
  const int at = call.axis(axis, x);
  if (x.dim(at) < 2) {
    call.invalid("axis {} has {} elements, an unbiased variance needs two", at, x.dim(at));
  }
  const Tensor centred = x - mean(x, at, true);
  return sum(sqr(centred), at, keepdim) * (1.0 / static_cast<double>(x.dim(at) - 1));
}

Tensor sum_all(const Tensor& x) {
  // Outer axes last: every step shortens the tensor by its longest run.
  Tensor y = x;
  do {
    y = sum(y.rank() == 0 ? y.reshape({1}) : y, -1);
  } while (y.rank() > 0);
  return y;
}

Tensor argmax(const Tensor& x, int axis, bool keepdim) {
  return arg_reduce("argmax", ReduceKind::max, x, axis, keepdim);
}
void argmax_into(const Tensor& x, const Tensor& ids) {
  const Call call("argmax_into", {{"x", &x}, {"ids", &ids}});
  call.axis(-1, x);
  call.require_float(x);
  call.require_dtype(ids, DType::U32);
  call.require_shape(ids, x.shape().removed(x.rank() - 1));
  if (x.dim(-1) == 0) {
    call.invalid("the last dimension is empty");
  }
  call.backend().arg_reduce(ReduceKind::max, x.view(), ids.view());
}
Tensor argmin(const Tensor& x, int axis, bool keepdim) {
  return arg_reduce("argmin", ReduceKind::min, x, axis, keepdim);
}

Tensor log_sum_exp(const Tensor& x, int axis, bool keepdim) {
  // A finite offset also where a whole row is -inf, so that no inf - inf arises.
  constexpr double kLargest = std::numeric_limits<float>::max();
  const Tensor offset = clamp(max(x, axis, true), -kLargest, kLargest);
  const Tensor total = log(sum(exp(x - offset), axis, true)) + offset;
  return keepdim ? total : total.squeeze(axis);
}

Tensor cumsum(const Tensor& x, int axis) {
  return along("cumsum", x, axis, [](Backend& backend, const View& from, const View& to) {
    backend.cumsum(from, to);
  });
}

std::pair<Tensor, Tensor> top_k(const Tensor& x, int64_t k) {
  const Call call("top_k", {{"x", &x}});
  call.axis(-1, x);
  if (k < 1 || k > 64 || k > x.dim(-1)) {
    call.invalid("k is {}, it has to lie in 1..64 and not exceed the last dimension", k);
  }
  Shape shape = x.shape();
  shape[-1] = k;
  Tensor values = call.output(shape);
  Tensor indices = call.output(shape, DType::U32);
  call.backend().top_k(as_f32(call, x).view(), values.view(), indices.view());
  return {values, indices};
}

Tensor softmax(const Tensor& x, int axis) {
  return along("softmax", x, axis, [](Backend& backend, const View& from, const View& to) {
    backend.softmax(from, to);
  });
}

Tensor log_softmax(const Tensor& x, int axis) {
  return along("log_softmax", x, axis, [](Backend& backend, const View& from, const View& to) {
    backend.log_softmax(from, to);
  });
}

}  // namespace candela
