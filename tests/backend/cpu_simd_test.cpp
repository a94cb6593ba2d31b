#include <gtest/gtest.h>

#include "backend/cpu/simd.h"
#include "backend/cpu_support.h"

namespace candela::cpu {
namespace {

std::vector<std::byte> weights_of(DType dtype, int64_t n, uint32_t seed) {
  if (is_quantized(dtype)) {
    return test::random_blocks(dtype, n, seed);
  }
  const std::vector<float> values = test::random_floats(n, seed);
  std::vector<std::byte> out(static_cast<size_t>(dtype_bytes(dtype, n)));
  for (size_t i = 0; i < values.size(); ++i) {
    const BFloat16 b = to_bf16(values[i]);
    const Float16 h = to_f16(values[i]);
    const void* from = dtype == DType::F32    ? static_cast<const void*>(&values[i])
                       : dtype == DType::BF16 ? static_cast<const void*>(&b)
                                              : static_cast<const void*>(&h);
    const auto bytes = static_cast<size_t>(block_bytes(dtype));
    std::memcpy(out.data() + i * bytes, from, bytes);
  }
  return out;
}

class SimdVariant : public testing::TestWithParam<const Simd*> {};

TEST_P(SimdVariant, AgreesWithDoubleSums) {
  const Simd& loops = *GetParam();
  const Simd& plain = simd_portable();
  for (const DType dtype :
       {DType::F32, DType::F16, DType::BF16, DType::Q8_0, DType::Q4_0, DType::Q4_1}) {
    for (int64_t n : {0, 1, 7, 8, 31, 32, 33, 64, 95, 130, 1024, 2049}) {
      n = is_quantized(dtype) ? n / 32 * 32 : n;
      const auto w = weights_of(dtype, n, 7);
      // Two bytes off: weights in files are not aligned.
      std::vector<std::byte> shifted(w.size() + 2);
      std::copy(w.begin(), w.end(), shifted.begin() + 2);
      const auto x = test::random_floats(n, 11);
      std::vector<float> wide(static_cast<size_t>(n)), expected(static_cast<size_t>(n));
      plain.widen(dtype)(w.data(), n, expected.data());
      loops.widen(dtype)(shifted.data() + 2, n, wide.data());
      EXPECT_LE(test::distance(wide, expected), 2e-7) << dtype_name(dtype) << " " << n;
      double sum = 0.0;
      double size = 1e-30;
      for (size_t i = 0; i < x.size(); ++i) {
        sum += static_cast<double>(x[i]) * static_cast<double>(expected[i]);
        size += std::fabs(static_cast<double>(x[i]) * static_cast<double>(expected[i]));
      }
      EXPECT_NEAR(static_cast<double>(loops.dot(dtype)(x.data(), shifted.data() + 2, n)), sum,
                  1e-6 * size)
          << loops.name << " " << dtype_name(dtype) << " " << n;
      std::vector<float> y = test::random_floats(n, 3);
      std::vector<float> y_expected = y;
      for (size_t i = 0; i < y.size(); ++i) {
        y_expected[i] += 0.75f * expected[i];
      }
      loops.axpy(dtype)(0.75f, shifted.data() + 2, n, y.data());
      EXPECT_LE(test::distance(y, y_expected), 3e-7) << dtype_name(dtype) << " " << n;
    }
  }
}

TEST_P(SimdVariant, TileIsTwelveDots) {
  const Simd& loops = *GetParam();
  for (const int64_t n : {1, 8, 16, 23, 257}) {
    const int64_t stride = n + 5;
    const auto x = test::random_floats(4 * n, 1);
    const auto w = test::random_floats(3 * stride, 2);
    const float* rows[4] = {x.data(), x.data() + n, x.data() + 2 * n, x.data() + 3 * n};
    float sums[12];
    loops.tile(rows, w.data(), stride, n, sums);
    for (int64_t i = 0; i < 4; ++i) {
      for (int64_t j = 0; j < 3; ++j) {
        double expected = 0.0;
        for (int64_t k = 0; k < n; ++k) {
          expected += static_cast<double>(x[static_cast<size_t>(i * n + k)]) *
                      static_cast<double>(w[static_cast<size_t>(j * stride + k)]);
        }
        EXPECT_NEAR(static_cast<double>(sums[i * 3 + j]), expected, 1e-5 * std::sqrt(double(n)));
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All,
                         SimdVariant,
                         testing::ValuesIn(simd_variants().begin(), simd_variants().end()),
                         [](const auto& variant) { return variant.param->name; });

TEST(Simd, BlocksAsTheFormatSays) {
  std::vector<std::byte> q4(18), q41(20), q8(34);
  const Float16 half = to_f16(0.5f);
  const Float16 three = to_f16(3.0f);
  std::memcpy(q4.data(), &half, 2);
  std::memcpy(q41.data(), &half, 2);
  std::memcpy(q41.data() + 2, &three, 2);
  std::memcpy(q8.data(), &half, 2);
  q4[2] = std::byte{0x9f};  // element 0: 15, element 16: 9
  q41[4] = std::byte{0x9f};
  q8[2 + 5] = std::byte{0xfd};  // element 5: -3
  for (const Simd* loops : simd_variants()) {
    std::vector<float> y(32);
    loops->widen(DType::Q4_0)(q4.data(), 32, y.data());
    EXPECT_EQ(y[0], 3.5f);
    EXPECT_EQ(y[16], 0.5f);
    EXPECT_EQ(y[1], -4.0f);
    loops->widen(DType::Q4_1)(q41.data(), 32, y.data());
    EXPECT_EQ(y[0], 10.5f);
    EXPECT_EQ(y[16], 7.5f);
    EXPECT_EQ(y[1], 3.0f);
    loops->widen(DType::Q8_0)(q8.data(), 32, y.data());
    EXPECT_EQ(y[5], -1.5f);
    EXPECT_EQ(y[6], 0.0f);
  }
}

}  // namespace
}  // namespace candela::cpu
