#include "tensor/call.h"
#include "tensor/ops.h"

namespace candela {

namespace {

Tensor unary(const char* op, UnaryKind kind, const Tensor& x, double a, double b) {
  const Call call(op, {{"x", &x}});
  call.require_float(x);
  Tensor y = call.output(x.shape());
  call.backend().unary(kind, static_cast<float>(a), static_cast<float>(b), x.view(), y.view());
  return y;
}

// Both operands seen with the common shape.
std::pair<Tensor, Tensor> broadcast(const Call& call, const Tensor& x, const Tensor& y) {
  return with_context([&] { return fmt::format("running {}", call.op()); },
                      [&] {
                        const Shape shape = broadcast_shapes(x.shape(), y.shape());
                        return std::pair(x.broadcast_to(shape), y.broadcast_to(shape));
                      });
}

bool works_on_integers(BinaryKind kind) {
  return kind == BinaryKind::add || kind == BinaryKind::sub || kind == BinaryKind::mul ||
         kind == BinaryKind::maximum || kind == BinaryKind::minimum;
}

// Floats mix freely; I32 and U32 only with themselves.
void require_alike(const Call& call, const Tensor& x, const Tensor& y) {
  if (is_float(x.dtype()) && is_float(y.dtype())) {
    return;
  }
  if (x.dtype() != y.dtype() || (x.dtype() != DType::I32 && x.dtype() != DType::U32)) {
    call.unsupported(
        "the dtypes {} and {} do not go together; use floats, or I32 or U32 on both "
        "sides, with to_dtype",
        dtype_name(x.dtype()), dtype_name(y.dtype()));
  }
}

Tensor binary(const char* op, BinaryKind kind, const Tensor& x, const Tensor& y) {
  const Call call(op, {{"x", &x}, {"y", &y}});
  require_alike(call, x, y);
  const bool floats = is_float(x.dtype());
  if (!floats && !works_on_integers(kind)) {
    call.unsupported("integers have add, sub, mul, maximum and minimum only; convert to F32");
  }
  const auto [left, right] = broadcast(call, x, y);
  Tensor out = call.output(left.shape(), floats ? DType::F32 : x.dtype());
  call.backend().binary(kind, left.view(), right.view(), out.view());
  return out;
}

Tensor compare(const char* op, CompareKind kind, const Tensor& x, const Tensor& y) {
  const Call call(op, {{"x", &x}, {"y", &y}});
  require_alike(call, x, y);
  const auto [left, right] = broadcast(call, x, y);
  Tensor out = call.output(left.shape(), DType::U32);
  call.backend().compare(kind, left.view(), right.view(), out.view());
  return out;
}

// A number as a tensor of x's dtype, for the integers, which have no affine.
Tensor like(const Tensor& x, double value) {
  return Tensor::full(Shape{}, value, x.dtype(), x.device());
}

}  // namespace

#define CANDELA_UNARY(name, cpu, wgsl)               \
  Tensor name(const Tensor& x, double a, double b) { \
    return unary(#name, UnaryKind::name, x, a, b);   \
  }
#define CANDELA_BINARY(name, cpu, wgsl)           \
  Tensor name(const Tensor& x, const Tensor& y) { \
    return binary(#name, BinaryKind::name, x, y); \
  }
#include "backend/elementwise.def"
#undef CANDELA_UNARY
#undef CANDELA_BINARY

Tensor operator+(const Tensor& x, const Tensor& y) {
  return add(x, y);
}
Tensor operator-(const Tensor& x, const Tensor& y) {
  return sub(x, y);
}
Tensor operator*(const Tensor& x, const Tensor& y) {
  return mul(x, y);
}
Tensor operator/(const Tensor& x, const Tensor& y) {
  return div(x, y);
}

Tensor operator+(const Tensor& x, double y) {
  return x.defined() && is_integer(x.dtype()) ? add(x, like(x, y)) : affine(x, 1.0, y);
}
Tensor operator-(const Tensor& x, double y) {
  return x.defined() && is_integer(x.dtype()) ? sub(x, like(x, y)) : affine(x, 1.0, -y);
}
Tensor operator*(const Tensor& x, double y) {
  return x.defined() && is_integer(x.dtype()) ? mul(x, like(x, y)) : affine(x, y, 0.0);
}
Tensor operator/(const Tensor& x, double y) {
  return affine(x, 1.0 / y, 0.0);
}

Tensor eq(const Tensor& x, const Tensor& y) {
  return compare("eq", CompareKind::eq, x, y);
}
Tensor ne(const Tensor& x, const Tensor& y) {
  return compare("ne", CompareKind::ne, x, y);
}
Tensor lt(const Tensor& x, const Tensor& y) {
  return compare("lt", CompareKind::lt, x, y);
}
Tensor le(const Tensor& x, const Tensor& y) {
  return compare("le", CompareKind::le, x, y);
}
Tensor gt(const Tensor& x, const Tensor& y) {
  return compare("gt", CompareKind::gt, x, y);
}
Tensor ge(const Tensor& x, const Tensor& y) {
  return compare("ge", CompareKind::ge, x, y);
}

Tensor where(const Tensor& condition, const Tensor& on_true, const Tensor& on_false) {
  const Call call("where",
                  {{"condition", &condition}, {"on_true", &on_true}, {"on_false", &on_false}});
  call.require_dtype(condition, DType::U32);
  call.require_dtype(on_false, on_true.dtype());
  if (is_quantized(on_true.dtype()) || block_bytes(on_true.dtype()) == 8) {
    call.unsupported("values of {} cannot be chosen from", dtype_name(on_true.dtype()));
  }
  const auto [yes, no] = broadcast(call, on_true, on_false);
  const auto [mask, first] = broadcast(call, condition, yes);
  const Tensor second = no.broadcast_to(mask.shape());
  Tensor out = call.output(mask.shape(), on_true.dtype());
  call.backend().where(mask.view(), first.view(), second.view(), out.view());
  return out;
}

}  // namespace candela
