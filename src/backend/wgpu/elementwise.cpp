#include "backend/wgpu/elements.h"
#include "backend/wgpu/wgpu_backend.h"
#include "base/assert.h"
#include "base/error.h"

namespace candela::wgpu {
namespace {

const char* expression(UnaryKind kind) {
  switch (kind) {
#define CANDELA_UNARY(name, cpu, wgsl) \
  case UnaryKind::name:                \
    return wgsl;
#define CANDELA_BINARY(name, cpu, wgsl)
#include "backend/elementwise.def"
#undef CANDELA_UNARY
#undef CANDELA_BINARY
  }
  return "x";
}

const char* expression(BinaryKind kind) {
  switch (kind) {
#define CANDELA_UNARY(name, cpu, wgsl)
#define CANDELA_BINARY(name, cpu, wgsl) \
  case BinaryKind::name:                \
    return wgsl;
#include "backend/elementwise.def"
#undef CANDELA_UNARY
#undef CANDELA_BINARY
  }
  return "x";
}

const char* operator_of(CompareKind kind) {
  switch (kind) {
    case CompareKind::eq:
      return "==";
    case CompareKind::ne:
      return "!=";
    case CompareKind::lt:
      return "<";
    case CompareKind::le:
      return "<=";
    case CompareKind::gt:
      return ">";
    case CompareKind::ge:
      return ">=";
  }
  return "==";
}

/// The define that says what the values are.
const char* value_define(const char* op, const View& x1, const View& x2) {
  if (is_float(x1.dtype) && is_float(x2.dtype)) {
    return "REAL";
  }
  if (x1.dtype == x2.dtype && x1.dtype == DType::I32) {
    return "INT_I32";
  }
  if (x1.dtype == x2.dtype && x1.dtype == DType::U32) {
    return "INT_U32";
  }
  fail(ErrorKind::Unsupported, Subject::Device,
       "The op {} does not take {} and {} on WebGPU: floats go with floats, I32 with I32 and U32 "
       "with U32.",
       op, dtype_name(x1.dtype), dtype_name(x2.dtype));
}

bool holds_for_integers(BinaryKind kind) {
  return kind == BinaryKind::add || kind == BinaryKind::sub || kind == BinaryKind::mul ||
         kind == BinaryKind::maximum || kind == BinaryKind::minimum;
}

}  // namespace

void WgpuBackend::unary(UnaryKind kind, float a, float b, const View& x, const View& y) {
  if (y.elements() == 0) {
    return;
  }
  if (!is_float(x.dtype) || !is_float(y.dtype)) {
    fail(ErrorKind::Unsupported, Subject::Device,
         "The op {} takes and gives floats, not {} and {}.", name_of(kind), dtype_name(x.dtype),
         dtype_name(y.dtype));
  }
  ElementOp op(name_of(kind), {x}, y);
  op.params.a = a;
  op.params.b = b;
  op.run(*stream_, "elementwise", {"REAL"}, {{"EXPRESSION", expression(kind)}});
}

void WgpuBackend::binary(BinaryKind kind, const View& x1, const View& x2, const View& y) {
  if (y.elements() == 0) {
    return;
  }
  const char* define = value_define(name_of(kind), x1, x2);
  const bool real = is_float(x1.dtype);
  if (real != is_float(y.dtype) || (!real && (y.dtype != x1.dtype || !holds_for_integers(kind)))) {
    fail(ErrorKind::Unsupported, Subject::Device, "The op {} does not make {} from {} on WebGPU.",
         name_of(kind), dtype_name(y.dtype), dtype_name(x1.dtype));
  }
  ElementOp op(name_of(kind), {x1, x2}, y);
  op.run(*stream_, "elementwise", {define, "BINARY"}, {{"EXPRESSION", expression(kind)}});
}

void WgpuBackend::compare(CompareKind kind, const View& x1, const View& x2, const View& y) {
  if (y.elements() == 0) {
    return;
  }
  CANDELA_ASSERT(y.dtype == DType::U32, "a comparison does not write U32");
  ElementOp op(name_of(kind), {x1, x2}, y);
  op.run(*stream_, "compare", {value_define(name_of(kind), x1, x2)},
         {{"OPERATOR", operator_of(kind)}});
}

void WgpuBackend::where(const View& condition,
                        const View& on_true,
                        const View& on_false,
                        const View& y) {
  if (y.elements() == 0) {
    return;
  }
  CANDELA_ASSERT(
      condition.dtype == DType::U32 && on_true.dtype == y.dtype && on_false.dtype == y.dtype,
      "where got mixed dtypes");
  ElementOp op("where", {condition, on_true, on_false}, y);
  op.run(*stream_, "where");
}

}  // namespace candela::wgpu
