#include <cmath>
#include <map>

#include "base/error.h"
#include "parity/case.h"
#include "tensor/ops.h"

namespace candela::parity {

namespace {

using UnaryOp = Tensor (*)(const Tensor&, double, double);
using BinaryOp = Tensor (*)(const Tensor&, const Tensor&);
using UnaryFormula = double (*)(double x, double a, double b);
using BinaryFormula = double (*)(double x, double y);

struct UnaryRow {
  UnaryFormula formula;
  Bound bound = kExp;
  double low = -6.0, high = 6.0;
  double a = 0.0, b = 0.0;
  double huge = 0.0;  ///< also tried: +-huge
};

double gelu(double x) {
  return 0.5 * x * (1.0 + std::tanh(std::sqrt(2.0 / M_PI) * (x + 0.044715 * x * x * x)));
}
double sigmoid_of(double x) {
  return 1.0 / (1.0 + std::exp(-x));
}

// The scalars reach the device as F32, so they are chosen to be exact there.
const std::map<std::string, UnaryRow>& unary_rows() {
  using D = double;
  static const std::map<std::string, UnaryRow> kRows = {
      {"neg", {[](D x, D, D) { return -x; }, kBits, -6, 6, 0, 0, 3e38}},
      {"abs", {[](D x, D, D) { return std::fabs(x); }, kBits, -6, 6, 0, 0, 3e38}},
      {"recip", {[](D x, D, D) { return 1 / x; }, kExp, 0.1, 6}},
      {"exp", {[](D x, D, D) { return std::exp(x); }}},
      {"log", {[](D x, D, D) { return std::log(x); }, kExp, 0.01, 50}},
      {"sin", {[](D x, D, D) { return std::sin(x); }, kExp, -6, 6, 0, 0, 20000}},
      {"cos", {[](D x, D, D) { return std::cos(x); }, kExp, -6, 6, 0, 0, 20000}},
      {"tanh", {[](D x, D, D) { return std::tanh(x); }, kExp, -6, 6, 0, 0, 3e38}},
      {"sqr", {[](D x, D, D) { return x * x; }, kRounded}},
      {"sqrt", {[](D x, D, D) { return std::sqrt(x); }, kExp, 0, 100, 0, 0, 0}},
      {"rsqrt", {[](D x, D, D) { return 1 / std::sqrt(x); }, kExp, 0.1, 100}},
      {"erf", {[](D x, D, D) { return std::erf(x); }, kExp, -6, 6, 0, 0, 3e38}},
      {"relu", {[](D x, D, D) { return std::fmax(x, 0); }, kBits, -6, 6, 0, 0, 3e38}},
      {"sigmoid", {[](D x, D, D) { return sigmoid_of(x); }, kExp, -6, 6, 0, 0, 3e38}},
      {"silu", {[](D x, D, D) { return x * sigmoid_of(x); }, kExp, -6, 6, 0, 0, 1e30}},
      {"gelu", {[](D x, D, D) { return gelu(x); }, kExp, -6, 6, 0, 0, 1e12}},
      {"gelu_erf",
       {[](D x, D, D) { return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0))); }, kExp, -6, 6, 0, 0,
        3e38}},
      {"ceil", {[](D x, D, D) { return std::ceil(x); }, kBits}},
      {"floor", {[](D x, D, D) { return std::floor(x); }, kBits}},
      {"round", {[](D x, D, D) { return std::nearbyint(x); }, kBits}},
      {"sign", {[](D x, D, D) { return D((x > 0) - (x < 0)); }, kBits, -6, 6, 0, 0, 3e38}},
      {"affine", {[](D x, D a, D b) { return x * a + b; }, kExp, -6, 6, 1.5, -0.25}},
      {"clamp",
       {[](D x, D a, D b) { return std::fmin(std::fmax(x, a), b); }, kBits, -6, 6, -1, 2.5, 3e38}},
      {"powf", {[](D x, D a, D) { return std::pow(x, a); }, kExp, 0.1, 4, 2.5}},
      {"elu", {[](D x, D a, D) { return x > 0 ? x : a * (std::exp(x) - 1); }, kExp, -6, 6, 1.5}},
      {"leaky_relu", {[](D x, D a, D) { return x > 0 ? x : a * x; }, kRounded, -6, 6, 0.125}},
  };
  return kRows;
}

struct BinaryRow {
  BinaryFormula formula;
  Bound bound = kRounded;
  double low = -6.0, high = 6.0;
  bool integers = true;
};

const std::map<std::string, BinaryRow>& binary_rows() {
  using D = double;
  static const std::map<std::string, BinaryRow> kRows = {
      {"add", {[](D x, D y) { return x + y; }}},
      {"sub", {[](D x, D y) { return x - y; }}},
      {"mul", {[](D x, D y) { return x * y; }}},
      {"div", {[](D x, D y) { return x / y; }, kExp, 0.1, 6, false}},
      {"maximum", {[](D x, D y) { return std::fmax(x, y); }, kBits}},
      {"minimum", {[](D x, D y) { return std::fmin(x, y); }, kBits}},
      {"pow", {[](D x, D y) { return std::pow(x, y); }, kExp, 0.1, 3, false}},
  };
  return kRows;
}

Case unary_case(const std::string& name, UnaryOp op, const std::string& what, const Host& input) {
  const UnaryRow& row = unary_rows().at(name);
  Case out;
  out.name = name + "/" + what;
  out.op = name;
  out.dtype = input.dtype;
  out.bound = row.bound;
  out.inputs = [input] { return Hosts{input}; };
  out.run = [op, row](const Tensors& in, const Device&) {
    return Tensors{op(in[0], row.a, row.b)};
  };
  out.reference = [row](const Hosts& in) {
    Numbers y;
    y.reserve(in[0].values.size());
    for (const double x : in[0].values) {
      y.push_back(row.formula(x, row.a, row.b));
    }
    return std::vector<Numbers>{y};
  };
  return out;
}

void add_unary(Table& table, const std::string& name, UnaryOp op) {
  if (!unary_rows().contains(name)) {
    fail(ErrorKind::Internal, Subject::Device, "The unary op {} has no formula in parity.", name);
  }
  const UnaryRow& row = unary_rows().at(name);
  Case plain = unary_case(name, op, "F32", uniform({7, 33}, row.low, row.high, 1));
  plain.basic = true;
  add_with_layouts(table, plain);
  for (const DType dtype : {DType::BF16, DType::F16}) {
    const std::string text(dtype_name(dtype));
    const Host odd = uniform({5, 33}, row.low, row.high, 2, dtype);
    table.push_back(unary_case(name, op, text, odd));
    table.push_back(unary_case(name, op, text + "/offset", placed(odd, Placement::Offset)));
    table.push_back(unary_case(name, op, text + "/transposed", placed(odd, Placement::Transposed)));
  }
  table.push_back(unary_case(name, op, "empty", filled({0, 3}, 0)));
  table.push_back(unary_case(name, op, "scalar", filled({}, 0.75)));
  table.push_back(unary_case(name, op, "equal", filled({3, 5}, 2.0)));
  if (row.huge != 0.0) {
    const double h = row.huge;
    table.push_back(unary_case(name, op, "huge", numbers({6}, {h, -h, h / 3, -h / 3, 0, 0.5})));
  }
}

// Broadcasts row-major indices of `shape` onto a smaller array.
double broadcast_at(const Host& x, const Shape& shape, int64_t index) {
  const Layout whole(x.shape);
  const Layout seen = whole.broadcast_to(shape);
  int64_t at = 0;
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    at += index % shape[axis] * seen.stride(axis);
    index /= shape[axis];
  }
  return x.values[static_cast<size_t>(at)];
}

template <typename F>
Numbers broadcast_apply(const Host& x, const Host& y, F f) {
  const Shape shape = broadcast_shapes(x.shape, y.shape);
  Numbers out;
  out.reserve(static_cast<size_t>(shape.elements()));
  for (int64_t i = 0; i < shape.elements(); ++i) {
    out.push_back(f(broadcast_at(x, shape, i), broadcast_at(y, shape, i)));
  }
  return out;
}

template <typename F>
Case binary_case(const std::string& op,
                 const std::string& what,
                 BinaryOp run,
                 F formula,
                 Bound bound,
                 Hosts in) {
  Case out;
  out.name = op + "/" + what;
  out.op = op;
  out.dtype = in[0].dtype;
  out.bound = bound;
  out.inputs = [in] { return in; };
  out.run = [run](const Tensors& t, const Device&) { return Tensors{run(t[0], t[1])}; };
  out.reference = [formula](const Hosts& h) {
    return std::vector<Numbers>{broadcast_apply(h[0], h[1], formula)};
  };
  return out;
}

void add_binary(Table& table, const std::string& name, BinaryOp op) {
  if (!binary_rows().contains(name)) {
    fail(ErrorKind::Internal, Subject::Device, "The binary op {} has no formula in parity.", name);
  }
  const BinaryRow row = binary_rows().at(name);
  const auto make = [&](const Shape& shape, uint64_t seed, DType dtype = DType::F32) {
    return uniform(shape, row.low, row.high, seed, dtype);
  };
  const auto add = [&](const std::string& what, Hosts in) {
    table.push_back(binary_case(name, what, op, row.formula, row.bound, std::move(in)));
  };
  Case plain =
      binary_case(name, "F32", op, row.formula, row.bound, {make({7, 33}, 1), make({7, 33}, 2)});
  plain.basic = true;
  add_with_layouts(table, plain);
  add("broadcast", {make({3, 1, 5}, 3), make({4, 1}, 4)});
  add("row", {make({6, 19}, 3), make({19}, 4)});
  add("empty", {make({0, 4}, 3), make({1, 4}, 4)});
  add("BF16", {make({5, 33}, 5, DType::BF16), make({5, 33}, 6)});
  add("BF16_BF16", {make({5, 33}, 5, DType::BF16),
                    placed(make({5, 33}, 6, DType::BF16), Placement::Transposed)});
  add("F16", {make({5, 33}, 5, DType::F16), make({5, 33}, 6, DType::BF16)});
  if (row.integers) {
    add("U32", {integers({3, 5}, 1000, 7), integers({3, 5}, 1, 8)});
    add("I32", {integers({3, 5}, 1000, 7, DType::I32), integers({5}, 1000, 8, DType::I32)});
  }
}

template <typename F>
void add_compare(Table& table, const std::string& name, BinaryOp op, F formula) {
  const auto add = [&](const std::string& what, Hosts in, bool layouts) {
    Case made = binary_case(name, what, op, formula, kBits, std::move(in));
    made.basic = layouts;
    layouts ? add_with_layouts(table, made) : table.push_back(made);
  };
  // Small whole numbers make equal pairs common.
  add("F32", {integers({7, 33}, 3, 1, DType::F32), integers({7, 33}, 3, 2, DType::F32)}, true);
  add("BF16", {integers({5, 3}, 3, 1, DType::BF16), integers({5, 3}, 3, 2)}, false);
  table.back().inputs = [] {
    return Hosts{integers({5, 3}, 3, 1, DType::BF16), integers({5, 3}, 3, 2, DType::F32)};
  };
  add("I32", {integers({5, 3}, 3, 1, DType::I32), integers({3}, 3, 2, DType::I32)}, false);
  add("U32", {integers({5, 3}, 3, 1), integers({5, 1}, 3, 2)}, false);
}

void add_where(Table& table) {
  for (const DType dtype : {DType::F32, DType::BF16, DType::F16, DType::U32, DType::I32}) {
    Case out;
    out.name = fmt::format("where/{}", dtype_name(dtype));
    out.op = "where";
    out.dtype = dtype;
    out.bound = kBits;
    out.basic = dtype == DType::F32;
    out.inputs = [dtype] {
      return Hosts{integers({5, 7}, 2, 1), integers({5, 7}, 50, 2, dtype),
                   integers({5, 7}, 50, 3, dtype)};
    };
    out.run = [](const Tensors& in, const Device&) { return Tensors{where(in[0], in[1], in[2])}; };
    out.reference = [](const Hosts& in) {
      Numbers y;
      y.reserve(in[0].values.size());
      for (size_t i = 0; i < in[0].values.size(); ++i) {
        y.push_back(in[0].values[i] != 0 ? in[1].values[i] : in[2].values[i]);
      }
      return std::vector<Numbers>{y};
    };
    add_with_layouts(table, out);
  }
}

template <typename F>
void add_scalar(Table& table, const std::string& name, Tensor (*op)(const Tensor&, double), F f) {
  for (const DType dtype : {DType::F32, DType::I32}) {
    if (dtype == DType::I32 && name == "operator/") {
      continue;
    }
    Case out;
    out.name = fmt::format("{}/scalar_{}", name, dtype_name(dtype));
    out.op = name;
    out.dtype = dtype;
    out.bound = kExp;
    out.inputs = [dtype] { return Hosts{integers({3, 5}, 9, 1, dtype)}; };
    out.run = [op](const Tensors& in, const Device&) { return Tensors{op(in[0], 2.0)}; };
    out.reference = [f](const Hosts& in) {
      Numbers y;
      y.reserve(in[0].values.size());
      for (const double x : in[0].values) {
        y.push_back(f(x, 2.0));
      }
      return std::vector<Numbers>{y};
    };
    table.push_back(out);
  }
}

}  // namespace

void add_elementwise(Table& table) {
#define CANDELA_UNARY(name, cpu, wgsl) \
  add_unary(table, #name, [](const Tensor& x, double a, double b) { return name(x, a, b); });
#define CANDELA_BINARY(name, cpu, wgsl) \
  add_binary(table, #name, [](const Tensor& x, const Tensor& y) { return name(x, y); });
#include "backend/elementwise.def"
#undef CANDELA_UNARY
#undef CANDELA_BINARY
  add_compare(table, "eq", eq, [](double x, double y) { return x == y ? 1.0 : 0.0; });
  add_compare(table, "ne", ne, [](double x, double y) { return x != y ? 1.0 : 0.0; });
  add_compare(table, "lt", lt, [](double x, double y) { return x < y ? 1.0 : 0.0; });
  add_compare(table, "le", le, [](double x, double y) { return x <= y ? 1.0 : 0.0; });
  add_compare(table, "gt", gt, [](double x, double y) { return x > y ? 1.0 : 0.0; });
  add_compare(table, "ge", ge, [](double x, double y) { return x >= y ? 1.0 : 0.0; });
  add_where(table);
  add_scalar(table, "operator+", operator+, [](double x, double y) { return x + y; });
  add_scalar(table, "operator-", operator-, [](double x, double y) { return x - y; });
  add_scalar(table, "operator*", operator*, [](double x, double y) { return x * y; });
  add_scalar(table, "operator/", operator/, [](double x, double y) { return x / y; });
  // More rows than one grid direction holds, with strides that cannot be merged.
  table.push_back(
      unary_case("neg", neg, "many_rows", placed(normal({66000, 3}, 9), Placement::Transposed)));
  table.push_back(
      binary_case("add", "many_rows", add, [](double x, double y) { return x + y; }, kRounded,
                  {placed(normal({66000, 2}, 9), Placement::Transposed), normal({66000, 1}, 10)}));
}

}  // namespace candela::parity
