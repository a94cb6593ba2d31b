#include "tensor/call.h"
#include "tensor/ops.h"

namespace candela {

namespace {

// The shape without its last two dimensions.
Shape batch_of(const Tensor& x) {
  return Shape(x.shape().dims().first(static_cast<size_t>(x.rank() - 2)));
}

Shape with_matrix(const Shape& batch, int64_t rows, int64_t cols) {
  return batch.inserted(batch.rank(), rows).inserted(batch.rank() + 1, cols);
}

}  // namespace

Tensor matmul(const Tensor& a, const Tensor& b) {
  const Call call("matmul", {{"a", &a}, {"b", &b}});
  call.require_float(a);
  call.require_float(b);
  if (a.rank() < 2 || b.rank() < 2) {
    call.invalid("both operands need two dimensions or more");
  }
  if (a.dim(-1) != b.dim(-2)) {
    call.invalid("inner sizes differ, {} and {}", a.dim(-1), b.dim(-2));
  }
  const Shape batch = with_context([] { return "broadcasting the batch dimensions of matmul"; },
                                   [&] { return broadcast_shapes(batch_of(a), batch_of(b)); });
  const Tensor left = a.broadcast_to(with_matrix(batch, a.dim(-2), a.dim(-1)));
  const Tensor right = b.broadcast_to(with_matrix(batch, b.dim(-2), b.dim(-1)));
  Tensor y = call.output(with_matrix(batch, a.dim(-2), b.dim(-1)));
  call.backend().matmul(left.view(), right.view(), y.view());
  return y;
}

namespace {

/// The checks and the call of both linear ops; `call` names x, weight and the other operands,
/// `args` holds what only one of the ops has.
Tensor run_linear(const Call& call,
                  const Tensor& x,
                  const Tensor& weight,
                  const std::optional<Tensor>& bias,
                  const std::optional<Tensor>& residual,
                  LinearArgs args) {
  call.axis(-1, x);
  call.require_rank(weight, 2);
  if (x.dim(-1) != weight.dim(1)) {
    call.invalid("inner sizes differ, {} and {}", x.dim(-1), weight.dim(1));
  }
  if (is_integer(weight.dtype())) {
    call.require_float(weight);
  }
  Shape shape = x.shape();
  shape[-1] = weight.dim(0);
  int64_t rows = 1;
  for (int axis = 0; axis + 1 < x.rank(); ++axis) {
    rows *= x.dim(axis);
  }
  const bool as_it_lies = x.dtype() == DType::F16 && !args.norm_weight;
  args.x = (as_it_lies ? x : as_f32(call, x)).reshape({rows, x.dim(-1)}).view();
  args.weight = weight.contiguous().view();
  if (bias) {
    call.require_float(*bias);
    call.require_shape(*bias, Shape{weight.dim(0)});
    args.bias = bias->view();
  }
  if (residual) {
    call.require_shape(*residual, shape);
    args.residual = as_f32(call, *residual).reshape({rows, weight.dim(0)}).view();
  }
  const Tensor y = call.output(Shape{rows, weight.dim(0)});
  call.backend().linear(args, y.view());
  return y.reshape(shape);
}

}  // namespace

Tensor linear(const Tensor& x,
              const Tensor& weight,
              const std::optional<Tensor>& bias,
              const std::optional<Tensor>& residual) {
  const Call call("linear", {{"x", &x},
                             {"weight", &weight},
                             {"bias", bias ? &*bias : &x},
                             {"residual", residual ? &*residual : &x}});
  return run_linear(call, x, weight, bias, residual, {});
}

Tensor norm_linear(const Tensor& x,
                   const Tensor& norm_weight,
                   float eps,
                   const Tensor& weight,
                   const std::optional<Tensor>& bias,
                   bool sensitive) {
  const Call call("norm_linear", {{"x", &x},
                                  {"norm_weight", &norm_weight},
                                  {"weight", &weight},
                                  {"bias", bias ? &*bias : &x}});
  call.axis(-1, x);
  call.require_float(norm_weight);
  call.require_shape(norm_weight, Shape{x.dim(-1)});
  LinearArgs args;
  args.norm_weight = norm_weight.view();
  args.norm_eps = eps;
  args.sensitive = sensitive;
  return run_linear(call, x, weight, bias, std::nullopt, args);
}

}  // namespace candela
