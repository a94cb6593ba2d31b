#include "tensor/compare.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "base/error.h"

namespace candela {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

TEST(Compare, MeasuresByHand) {
  const std::vector<float> expected = {3, 4, 0, 0};
  const std::vector<float> actual = {3, 4, 0.5f, 0};
  const Difference apart = difference(actual, expected);
  EXPECT_DOUBLE_EQ(apart.rms, 2.5);  // sqrt(25 / 4)
  EXPECT_DOUBLE_EQ(apart.nmse, 0.25 / 25);
  EXPECT_DOUBLE_EQ(apart.max_over_rms, 0.2);
  EXPECT_EQ(apart.worst, 2);
}

TEST(Compare, EqualNonFiniteValuesAreEqual) {
  const std::vector<float> x = {kInf, -kInf, kNan, 1};
  EXPECT_EQ(difference(x, x).nmse, 0.0);
  EXPECT_TRUE(allclose(x, x));
  EXPECT_EQ(first_difference(std::vector<float>{kInf, 1}, std::vector<float>{kInf, kNan}), 1);
  EXPECT_TRUE(std::isinf(difference(std::vector<float>{kInf}, std::vector<float>{1}).max_error));
}

TEST(Compare, ToleranceIsRelativeAndAbsolute) {
  const std::vector<float> expected = {100, 0};
  EXPECT_TRUE(allclose(std::vector<float>{101, 0.5f}, expected, {0.01, 0.5}));
  EXPECT_EQ(first_difference(std::vector<float>{101, 0.6f}, expected, {0.01, 0.5}), 1);
  EXPECT_EQ(first_difference(std::vector<float>{102, 0.6f}, expected, {0.01, 0.5}), 0);
}

TEST(Compare, ZeroReference) {
  EXPECT_EQ(difference(std::vector<float>{0}, std::vector<float>{0}).nmse, 0.0);
  EXPECT_TRUE(std::isinf(difference(std::vector<float>{1e-9f}, std::vector<float>{0}).nmse));
}

TEST(Compare, LengthsMustAgree) {
  EXPECT_THROW(difference(std::vector<float>{1}, std::vector<float>{1, 2}), Error);
}

}  // namespace
}  // namespace candela
