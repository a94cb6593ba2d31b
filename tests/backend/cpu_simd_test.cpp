#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "backend/cpu/simd.h"
#include "backend/cpu_support.h"

namespace candela::cpu {
namespace {

/// The sum of products and that of their magnitudes.
std::pair<double, double> exact_dot(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0.0;
  double size = 1e-30;
  for (size_t i = 0; i < a.size(); ++i) {
    const double product = static_cast<double>(a[i]) * static_cast<double>(b[i]);
    sum += product;
    size += std::fabs(product);
  }
  return {sum, size};
}

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

using Rows = std::vector<const std::byte*>;

/// Rows of weights two bytes off: those in files are not aligned.
struct Weights {
  std::vector<std::byte> bytes;
  Rows rows;
  std::vector<std::vector<float>> wide;  // by the portable loops

  Weights(DType dtype, int64_t count, int64_t n, uint32_t seed) {
    const auto row = static_cast<size_t>(dtype_bytes(dtype, n));
    bytes = weights_of(dtype, count * n, seed);
    bytes.insert(bytes.begin(), 2, std::byte{});
    for (int64_t i = 0; i < count; ++i) {
      rows.push_back(bytes.data() + 2 + static_cast<size_t>(i) * row);
      wide.emplace_back(static_cast<size_t>(n));
      simd_portable().of(dtype).widen(rows.back(), n, wide.back().data());
    }
  }

  /// With rows to fetch behind them.
  Rows twice() const {
    Rows out = rows;
    out.insert(out.end(), rows.begin(), rows.end());
    return out;
  }
};

constexpr DType kFloats[] = {DType::F32,  DType::F16,  DType::BF16, DType::Q8_0,
                             DType::Q4_0, DType::Q4_1, DType::Q8_16};
constexpr int64_t kLengths[] = {0, 1, 7, 8, 31, 32, 33, 64, 95, 130, 1024, 2049};

class SimdVariant : public testing::TestWithParam<const Simd*> {};

TEST_P(SimdVariant, WidensAsThePortableLoops) {
  for (const DType dtype : kFloats) {
    for (int64_t n : kLengths) {
      n = is_quantized(dtype) ? n / 32 * 32 : n;
      const Weights w(dtype, 1, n, 7);
      std::vector<float> wide(static_cast<size_t>(n));
      GetParam()->of(dtype).widen(w.rows[0], n, wide.data());
      EXPECT_LE(test::distance(wide, w.wide[0]), 2e-7) << dtype_name(dtype) << " " << n;
    }
  }
}

TEST_P(SimdVariant, DotsAgreeWithDoubleSums) {
  const Simd& loops = *GetParam();
  for (const DType dtype : kFloats) {
    for (int64_t n : kLengths) {
      n = is_quantized(dtype) ? n / 32 * 32 : n;
      const Weights w(dtype, loops.dot_weights, n, 7);
      for (size_t rows = 1; rows <= kDotRows; ++rows) {
        std::vector<std::vector<float>> x;
        std::vector<const float*> x_rows;
        for (size_t r = 0; r < rows; ++r) {
          x.push_back(test::random_floats(n, 11 + static_cast<uint32_t>(r)));
          x_rows.push_back(x.back().data());
        }
        float sums[kDotRows * kMaxDotWeights];
        loops.of(dtype).dots[rows](x_rows.data(), w.twice().data(), n, sums);
        for (size_t r = 0; r < rows; ++r) {
          for (size_t j = 0; j < w.rows.size(); ++j) {
            const auto [sum, size] = exact_dot(x[r], w.wide[j]);
            EXPECT_NEAR(static_cast<double>(sums[r * kMaxDotWeights + j]), sum, 1e-6 * size)
                << dtype_name(dtype) << " " << n << " " << rows;
          }
        }
      }
    }
  }
}

TEST_P(SimdVariant, DotsOfBf16AgreeWithDoubleSums) {
  const Simd& loops = *GetParam();
  if (loops.dots_bf16[1] == nullptr) {
    GTEST_SKIP() << loops.name << " has no products of BF16";
  }
  for (const int64_t n : kLengths) {
    const Weights w(DType::BF16, loops.dot_weights, n, 7);
    const Weights x(DType::BF16, kDotRows, n, 8);
    std::vector<std::vector<BFloat16>> values(kDotRows);
    std::vector<const BFloat16*> rows;
    for (size_t r = 0; r < kDotRows; ++r) {
      values[r].resize(static_cast<size_t>(n));
      loops.narrow(x.wide[r].data(), n, values[r].data());
      rows.push_back(values[r].data());
    }
    for (size_t count = 1; count <= kDotRows; ++count) {
      float sums[kDotRows * kMaxDotWeights];
      loops.dots_bf16[count](rows.data(), w.twice().data(), n, sums);
      for (size_t r = 0; r < count; ++r) {
        for (size_t j = 0; j < w.rows.size(); ++j) {
          const auto [sum, size] = exact_dot(x.wide[r], w.wide[j]);
          EXPECT_NEAR(static_cast<double>(sums[r * kMaxDotWeights + j]), sum, 1e-6 * size) << n;
        }
      }
    }
  }
}

TEST_P(SimdVariant, MixAddsWeightedRows) {
  for (const DType dtype : kFloats) {
    for (int64_t n : {1, 31, 32, 33, 128, 160}) {
      n = is_quantized(dtype) ? n / 32 * 32 : n;
      for (const int rows : {1, 2, 3, 4, 5, 7}) {
        const int64_t count = rows == 7 ? 0 : 6;
        const Weights v(dtype, 6, n, 5);
        std::vector<std::vector<float>> a, y, expected;
        std::vector<const float*> a_rows;
        std::vector<float*> y_rows;
        for (int r = 0; r < rows; ++r) {
          a.push_back(test::random_floats(6, 21 + static_cast<uint32_t>(r)));
          y.push_back(test::random_floats(n, 31 + static_cast<uint32_t>(r)));
          expected.push_back(y.back());
          for (size_t s = 0; s < static_cast<size_t>(count); ++s) {
            for (size_t i = 0; i < static_cast<size_t>(n); ++i) {
              expected.back()[i] += a.back()[s] * v.wide[s][i];
            }
          }
        }
        for (size_t r = 0; r < y.size(); ++r) {
          a_rows.push_back(a[r].data());
          y_rows.push_back(y[r].data());
        }
        GetParam()->of(dtype).mix(a_rows.data(), rows, v.rows.data(), count, n, y_rows.data());
        for (size_t r = 0; r < y.size(); ++r) {
          EXPECT_LE(test::distance(y[r], expected[r]), 3e-6) << dtype_name(dtype) << " " << n;
        }
      }
    }
  }
}

TEST_P(SimdVariant, NarrowRoundsToNearestEven) {
  std::vector<float> x = test::random_floats(77, 4, 100.0f);
  const auto limits = std::numeric_limits<float>();
  for (const float value : {0.0f, -0.0f, limits.infinity(), -limits.infinity(), limits.max(),
                            limits.denorm_min(), limits.quiet_NaN(), 1.00390625f, 1.01171875f}) {
    x.push_back(value);
  }
  std::vector<BFloat16> y(x.size());
  GetParam()->narrow(x.data(), static_cast<int64_t>(x.size()), y.data());
  for (size_t i = 0; i < x.size(); ++i) {
    EXPECT_EQ(y[i].bits, to_bf16(x[i]).bits) << x[i];
  }
}

TEST_P(SimdVariant, SoftmaxIsThatOfDoubles) {
  const float masked = -std::numeric_limits<float>::infinity();
  for (const int64_t n : {1, 3, 16, 17, 100, 1024, 3001}) {
    for (const float scale : {1.0f, 30.0f}) {
      std::vector<float> x = test::random_floats(n, 9, scale);
      x[static_cast<size_t>(n / 2)] = n > 1 ? masked : x[0];
      double sum = 0.0;
      for (const float value : x) {
        sum += std::exp(static_cast<double>(value));
      }
      std::vector<float> y(x.size()), expected(x.size());
      std::ranges::transform(x, expected.begin(), [&](float value) {
        return static_cast<float>(std::exp(static_cast<double>(value)) / sum);
      });
      const float log_sum = GetParam()->softmax(x.data(), n, y.data());
      EXPECT_NEAR(static_cast<double>(log_sum), std::log(sum),
                  1e-5 + 1e-6 * std::fabs(std::log(sum)));
      EXPECT_LE(test::distance(y, expected), 1e-6) << n;
      if (n > 1) {
        EXPECT_EQ(y[static_cast<size_t>(n / 2)], 0.0f);
      }
    }
  }
  std::vector<float> y(5, 1.0f);
  EXPECT_EQ(GetParam()->softmax(std::vector<float>(5, masked).data(), 5, y.data()), masked);
  EXPECT_THAT(y, testing::Each(0.0f));
  y[3] = std::numeric_limits<float>::quiet_NaN();
  GetParam()->softmax(y.data(), 5, y.data());
  EXPECT_TRUE(std::isnan(y[0]) && std::isnan(y[3]));
}

TEST_P(SimdVariant, SwigluKeepsSmallAndLargeGates) {
  std::vector<float> gate = test::random_floats(61, 2, 8.0f);
  for (const float value : {0.0f, -20.0f, -86.0f, -1e4f, -3e38f, 88.0f, 1e4f, 3e38f}) {
    gate.push_back(value);
  }
  const std::vector<float> up(gate.size(), 0.5f);
  std::vector<float> y(gate.size());
  GetParam()->swiglu(gate.data(), up.data(), static_cast<int64_t>(gate.size()), y.data());
  for (size_t i = 0; i < gate.size(); ++i) {
    const auto g = static_cast<double>(gate[i]);
    const double expected = 0.5 * g / (1.0 + std::exp(-g));
    EXPECT_NEAR(static_cast<double>(y[i]), expected, 1e-6 * std::fabs(expected) + 1e-33) << g;
  }
}

INSTANTIATE_TEST_SUITE_P(All,
                         SimdVariant,
                         testing::ValuesIn(simd_variants().begin(), simd_variants().end()),
                         [](const auto& variant) { return variant.param->name; });

TEST(Simd, BlocksAsTheFormatSays) {
  std::vector<std::byte> q4(18), q41(20), q8(34), q816(36);
  const Float16 half = to_f16(0.5f);
  const Float16 three = to_f16(3.0f);
  std::memcpy(q4.data(), &half, 2);
  std::memcpy(q41.data(), &half, 2);
  std::memcpy(q41.data() + 2, &three, 2);
  std::memcpy(q8.data(), &half, 2);
  std::memcpy(q816.data(), &half, 2);
  std::memcpy(q816.data() + 2, &three, 2);
  q816[4 + 15] = std::byte{0xfd};  // element 15: -3
  q816[4 + 16] = std::byte{0xfe};  // element 16: -2
  q4[2] = std::byte{0x9f};         // element 0: 15, element 16: 9
  q41[4] = std::byte{0x9f};
  q8[2 + 5] = std::byte{0xfd};  // element 5: -3
  for (const Simd* loops : simd_variants()) {
    std::vector<float> y(32);
    loops->of(DType::Q4_0).widen(q4.data(), 32, y.data());
    EXPECT_EQ(y[0], 3.5f);
    EXPECT_EQ(y[16], 0.5f);
    EXPECT_EQ(y[1], -4.0f);
    loops->of(DType::Q4_1).widen(q41.data(), 32, y.data());
    EXPECT_EQ(y[0], 10.5f);
    EXPECT_EQ(y[16], 7.5f);
    EXPECT_EQ(y[1], 3.0f);
    loops->of(DType::Q8_0).widen(q8.data(), 32, y.data());
    EXPECT_EQ(y[5], -1.5f);
    EXPECT_EQ(y[6], 0.0f);
    loops->of(DType::Q8_16).widen(q816.data(), 32, y.data());
    EXPECT_EQ(y[14], 0.0f);
    EXPECT_EQ(y[15], -1.5f);
    EXPECT_EQ(y[16], -6.0f);
  }
}

}  // namespace
}  // namespace candela::cpu
