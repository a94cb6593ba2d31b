#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <map>

#include "wgpu_fixture.h"

namespace candela::wgpu {
namespace {

std::vector<float> wide_values() {
  std::vector<float> values;
  for (int i = -400; i <= 400; ++i) {
    values.push_back(static_cast<float>(i) * 0.037f);
  }
  for (const float x :
       {0.0f, 1e-7f, -1e-5f, 50.0f, -50.0f, 100.0f, -100.0f, 1e3f, -5e3f, 9999.0f}) {
    values.push_back(x);
  }
  return values;
}

std::vector<float> run_unary(UnaryKind kind, float a, float b, const std::vector<float>& values) {
  WgpuBackend& backend = test_backend();
  const auto count = static_cast<int64_t>(values.size());
  const View x = put(backend, {count}, DType::F32, values);
  const View y = make_view(backend, {count}, DType::F32);
  backend.unary(kind, a, b, x, y);
  return get<float>(backend, y);
}

TEST(WgpuOps, WideFunctionsStayCloseToDouble) {
  struct Case {
    UnaryKind kind;
    std::function<double(double)> exact;
    double absolute, relative;
  };
  const std::vector<Case> cases = {
      {UnaryKind::sin, [](double x) { return std::sin(x); }, 1e-6, 0},
      {UnaryKind::cos, [](double x) { return std::cos(x); }, 1e-6, 0},
      {UnaryKind::tanh, [](double x) { return std::tanh(x); }, 1e-9, 2e-6},
      {UnaryKind::erf, [](double x) { return std::erf(x); }, 5e-7, 0},
      {UnaryKind::sigmoid, [](double x) { return 1 / (1 + std::exp(-x)); }, 1e-7, 5e-6},
      {UnaryKind::silu, [](double x) { return x / (1 + std::exp(-x)); }, 1e-6, 5e-6},
      {UnaryKind::gelu,
       [](double x) {
         return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
       },
       2e-6, 2e-6},
      {UnaryKind::gelu_erf, [](double x) { return 0.5 * x * (1 + std::erf(x / M_SQRT2)); }, 2e-6,
       2e-6},
  };
  const std::vector<float> values = wide_values();
  for (const Case& test : cases) {
    const std::vector<float> got = run_unary(test.kind, 0, 0, values);
    for (size_t i = 0; i < values.size(); ++i) {
      const double exact = test.exact(values[i]);
      EXPECT_NEAR(got[i], exact, test.absolute + test.relative * std::fabs(exact))
          << name_of(test.kind) << "(" << values[i] << ")";
    }
  }
}

TEST(WgpuOps, PowersOfNegativeBasesAndZero) {
  const std::vector<float> x = {-3, -2, -0.5f, 0, 0.5f, 2, 3};
  const auto cubes = run_unary(UnaryKind::powf, 3, 0, x);
  const auto squares = run_unary(UnaryKind::powf, -2, 0, {-2, 4});
  const auto roots = run_unary(UnaryKind::powf, 2.5f, 0, {0, 4});
  const auto ones = run_unary(UnaryKind::powf, 0, 0, {0, -7});
  const auto high = run_unary(UnaryKind::powf, 21, 0, {-1.25f, 1.25f});
  EXPECT_EQ(cubes, (std::vector<float>{-27, -8, -0.125f, 0, 0.125f, 8, 27}));
  EXPECT_EQ(squares, (std::vector<float>{0.25f, 0.0625f}));
  EXPECT_EQ(roots[0], 0.0f);
  EXPECT_NEAR(roots[1], 32.0f, 1e-3f);
  EXPECT_EQ(ones, (std::vector<float>{1, 1}));
  EXPECT_NEAR(high[0], -std::pow(1.25f, 21.0f), 1e-2f);
  EXPECT_NEAR(high[1], std::pow(1.25f, 21.0f), 1e-2f);
}

TEST(WgpuOps, EveryUnaryAndBinaryKindCompilesAndTakesStridedHalves) {
  WgpuBackend& backend = test_backend();
  const std::vector<BFloat16> half(24, to_bf16(0.5f));
  const View x = put(backend, {4, 6}, DType::BF16, half);
  const View turned{x.storage, x.layout.transpose(0, 1).narrow(0, 1, 5), x.dtype};
  const View y = make_view(backend, {5, 4}, DType::F16);
#define CANDELA_UNARY(name, cpu, wgsl) backend.unary(UnaryKind::name, 0.25f, 0.75f, turned, y);
#define CANDELA_BINARY(name, cpu, wgsl) backend.binary(BinaryKind::name, turned, turned, y);
#include "backend/elementwise.def"
#undef CANDELA_UNARY
#undef CANDELA_BINARY
  // The last is pow: 0.5^0.5.
  for (const Float16 value : get<Float16>(backend, y)) {
    EXPECT_NEAR(to_float(value), 0.70710678f, 5e-4f);
  }
}

TEST(WgpuOps, BinaryBroadcastsByStrideZeroAndHoldsIntegers) {
  WgpuBackend& backend = test_backend();
  const View x = put<float>(backend, {2, 3}, DType::F32, {1, 2, 3, 4, 5, 6});
  const View row = put<float>(backend, {3}, DType::F32, {10, 20, 30});
  const View y = make_view(backend, {2, 3}, DType::F32);
  backend.binary(BinaryKind::sub, x, {row.storage, row.layout.broadcast_to({2, 3}), row.dtype}, y);
  EXPECT_EQ(get<float>(backend, y), (std::vector<float>{-9, -18, -27, -6, -15, -24}));

  const View a = put<int32_t>(backend, {3}, DType::I32, {-5, 7, 2000000000});
  const View b = put<int32_t>(backend, {3}, DType::I32, {3, -7, 100000000});
  const View c = make_view(backend, {3}, DType::I32);
  backend.binary(BinaryKind::minimum, a, b, c);
  EXPECT_EQ(get<int32_t>(backend, c), (std::vector<int32_t>{-5, -7, 100000000}));
  backend.binary(BinaryKind::add, a, b, c);
  EXPECT_EQ(get<int32_t>(backend, c), (std::vector<int32_t>{-2, 0, 2100000000}));
  expect_error(ErrorKind::Unsupported, "div", [&] { backend.binary(BinaryKind::div, a, b, c); });
  expect_error(ErrorKind::Unsupported, "I32 and F32",
               [&] { backend.binary(BinaryKind::add, a, row, c); });
}

TEST(WgpuOps, CompareAndWhere) {
  WgpuBackend& backend = test_backend();
  const View x = put<float>(backend, {4}, DType::F32, {1, 2, 3, -1});
  const View y = put<float>(backend, {4}, DType::F32, {2, 2, 1, -1});
  const View c = make_view(backend, {4}, DType::U32);
  const std::map<CompareKind, std::vector<uint32_t>> expected = {
      {CompareKind::eq, {0, 1, 0, 1}}, {CompareKind::ne, {1, 0, 1, 0}},
      {CompareKind::lt, {1, 0, 0, 0}}, {CompareKind::le, {1, 1, 0, 1}},
      {CompareKind::gt, {0, 0, 1, 0}}, {CompareKind::ge, {0, 1, 1, 1}}};
  for (const auto& [kind, result] : expected) {
    backend.compare(kind, x, y, c);
    EXPECT_EQ(get<uint32_t>(backend, c), result) << name_of(kind);
  }
  const View a = put<uint32_t>(backend, {4}, DType::U32, {1, 0, 4000000000u, 0});
  const View z = make_view(backend, {4}, DType::F32);
  backend.where(a, x, y, z);
  EXPECT_EQ(get<float>(backend, z), (std::vector<float>{1, 2, 3, -1}));
  const View h = put<BFloat16>(backend, {3}, DType::BF16, {{1}, {2}, {3}});
  const View g = put<BFloat16>(backend, {3}, DType::BF16, {{7}, {8}, {9}});
  const View k = make_view(backend, {3}, DType::BF16);
  backend.where({a.storage, Layout({3}), DType::U32}, h, g, k);
  const auto bits = get<BFloat16>(backend, k);
  EXPECT_EQ(bits[0].bits, 1);
  EXPECT_EQ(bits[1].bits, 8);
  EXPECT_EQ(bits[2].bits, 3);
}

}  // namespace
}  // namespace candela::wgpu
