#include "tensor/tensor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "tensor/transfer.h"

namespace candela {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

template <typename F>
void expect_error(ErrorKind kind, const std::string& part, F run) {
  try {
    run();
    FAIL() << "no error; expected one with: " << part;
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    EXPECT_THAT(error.what(), HasSubstr(part));
  }
}

class TensorTest : public testing::Test {
 protected:
  Tensor counting(const Shape& shape) {
    return Tensor::arange(0, static_cast<double>(shape.elements()), 1, DType::F32, cpu)
        .reshape(shape);
  }
  Device cpu = Device::cpu(1);
};

TEST_F(TensorTest, Creation) {
  EXPECT_THAT(Tensor::arange(5, 0, -2, DType::I32, cpu).to_vec<int32_t>(), ElementsAre(5, 3, 1));
  EXPECT_THAT(Tensor::arange(0, 1, 0.25, DType::F32, cpu).to_vec<float>(),
              ElementsAre(0.0f, 0.25f, 0.5f, 0.75f));
  EXPECT_EQ(Tensor::arange(3, 3, 1, DType::F32, cpu).elements(), 0);
  EXPECT_THAT(Tensor::full({2}, 1.5, DType::F16, cpu).to_vec<float>(), ElementsAre(1.5f, 1.5f));
  EXPECT_EQ(Tensor::from_scalar<float>(3, cpu).to_scalar<float>(), 3);
  EXPECT_EQ(Tensor::from_scalar<float>(3, cpu).rank(), 0);
  expect_error(ErrorKind::InvalidArgument, "needs 6 elements, but 5 were given",
               [&] { Tensor::from_vector<float>({1, 2, 3, 4, 5}, {2, 3}, cpu); });
}

TEST_F(TensorTest, HostDTypes) {
  EXPECT_THAT(Tensor::from_vector<uint8_t>({1, 255}, {2}, cpu).to_vec<uint8_t>(),
              ElementsAre(1, 255));
  EXPECT_THAT(Tensor::from_vector<int64_t>({-1, 1LL << 40}, {2}, cpu).to_vec<int64_t>(),
              ElementsAre(-1, 1LL << 40));
}

TEST_F(TensorTest, RandomIsSeededAndSane) {
  const Tensor x = Tensor::rand({1000}, -1, 3, 7, cpu);
  EXPECT_EQ(x.to_vec<float>(), Tensor::rand({1000}, -1, 3, 7, cpu).to_vec<float>());
  EXPECT_NE(x.to_vec<float>(), Tensor::rand({1000}, -1, 3, 8, cpu).to_vec<float>());
  double sum = 0;
  for (const float value : x.to_vec<float>()) {
    EXPECT_GE(value, -1.0f);
    EXPECT_LT(value, 3.0f);
    sum += static_cast<double>(value);
  }
  EXPECT_NEAR(sum / 1000, 1.0, 0.15);
  double power = 0;
  for (const float value : Tensor::randn({4000}, 0, 2, 7, cpu).to_vec<float>()) {
    power += static_cast<double>(value * value);
  }
  EXPECT_NEAR(power / 4000, 4.0, 0.4);
}

TEST_F(TensorTest, Views) {
  const Tensor x = counting({2, 3});
  EXPECT_THAT(x.t().to_vec<float>(), ElementsAre(0, 3, 1, 4, 2, 5));
  EXPECT_THAT(x.narrow(1, 1, 2).to_vec<float>(), ElementsAre(1, 2, 4, 5));
  EXPECT_THAT(x.get(1).to_vec1<float>(), ElementsAre(3, 4, 5));
  EXPECT_THAT(x.t().reshape({-1}).to_vec<float>(), ElementsAre(0, 3, 1, 4, 2, 5));
  EXPECT_EQ(x.unsqueeze(-1).shape(), (Shape{2, 3, 1}));
  EXPECT_EQ(x.unsqueeze(0).squeeze(0).shape(), x.shape());
  EXPECT_EQ(counting({2, 3, 4}).flatten(1).shape(), (Shape{2, 12}));
  EXPECT_EQ(counting({2, 3, 4}).permute({2, 0, 1}).shape(), (Shape{4, 2, 3}));
  EXPECT_THAT(counting({3}).broadcast_to({2, 3}).to_vec<float>(), ElementsAre(0, 1, 2, 0, 1, 2));
  EXPECT_THAT(x.to_vec2<float>(), ElementsAre(ElementsAre(0, 1, 2), ElementsAre(3, 4, 5)));
  EXPECT_EQ(counting({2, 3, 4}).to_vec3<float>()[1][2][3], 23);
}

TEST_F(TensorTest, TheSameMemoryAsOtherNumbers) {
  const Tensor words = Tensor::zeros({6}, DType::U32, cpu);
  const Tensor inner = words.narrow(0, 2, 4).reinterpret(DType::F32, {3}, 4);
  inner.fill(1.0);
  const uint32_t one = 0x3f800000;
  EXPECT_THAT(words.to_vec<uint32_t>(), ElementsAre(0, 0, 0, one, one, one));
  EXPECT_THAT(inner.reinterpret(DType::BF16, {3, 2}).to_dtype(DType::F32).to_vec<float>(),
              ElementsAre(0, 1, 0, 1, 0, 1));
  expect_error(ErrorKind::InvalidArgument, "exceed the tensor's 16 bytes",
               [&] { words.narrow(0, 2, 4).reinterpret(DType::F32, {3}, 8); });
  expect_error(ErrorKind::InvalidArgument, "inside of an element",
               [&] { words.reinterpret(DType::F32, {3}, 2); });
  expect_error(ErrorKind::InvalidArgument, "does not lie gapless",
               [&] { counting({2, 3}).t().reinterpret(DType::U32, {6}); });
}

TEST_F(TensorTest, ChunksDifferByOneAtMost) {
  const std::vector<Tensor> parts = counting({7}).chunk(3, 0);
  ASSERT_EQ(parts.size(), 3u);
  EXPECT_THAT(parts[0].to_vec<float>(), ElementsAre(0, 1, 2));
  EXPECT_THAT(parts[1].to_vec<float>(), ElementsAre(3, 4));
  EXPECT_THAT(parts[2].to_vec<float>(), ElementsAre(5, 6));
}

TEST_F(TensorTest, CopiesShareAndCopyDoesNot) {
  const Tensor x = Tensor::zeros({3}, DType::F32, cpu);
  const Tensor shared = x;
  const Tensor apart = x.copy();
  x.narrow(0, 1, 1).fill(5);
  EXPECT_THAT(shared.to_vec<float>(), ElementsAre(0, 5, 0));
  EXPECT_THAT(apart.to_vec<float>(), ElementsAre(0, 0, 0));
  x.copy_from(Tensor::full({1}, 2.5, DType::BF16, cpu));
  EXPECT_THAT(x.to_vec<float>(), ElementsAre(2.5f, 2.5f, 2.5f));
}

TEST_F(TensorTest, ReadsFloatsAsFloat) {
  // 1 + 2^-8 lies between the BF16 neighbours 1 and 1 + 2^-7 and rounds to the even one.
  const Tensor x = Tensor::from_vector<float>({1.00390625f, -3.0f}, {2}, cpu);
  EXPECT_THAT(x.to_dtype(DType::BF16).to_vec<float>(), ElementsAre(1.0f, -3.0f));
  EXPECT_THAT(x.to_dtype(DType::F16).to_vec<float>(), ElementsAre(1.00390625f, -3.0f));
  expect_error(ErrorKind::InvalidArgument, "cannot be read as F32",
               [&] { Tensor::zeros({2}, DType::I32, cpu).to_vec<float>(); });
  expect_error(ErrorKind::InvalidArgument, "to_vec2",
               [&] { Tensor::zeros({2}, DType::F32, cpu).to_vec2<float>(); });
}

TEST_F(TensorTest, ErrorsNameOpAndShapes) {
  const Tensor x = counting({2, 3});
  expect_error(ErrorKind::InvalidArgument, "reshape: the shape [4, 2] has 8 elements instead of 6",
               [&] { x.reshape({4, 2}); });
  expect_error(ErrorKind::InvalidArgument, "[2, 3]", [&] { x.reshape({4, -1}); });
  expect_error(ErrorKind::InvalidArgument, "narrow", [&] { x.narrow(1, 2, 2); });
  expect_error(ErrorKind::InvalidArgument, "transpose: axis 2", [&] { x.transpose(0, 2); });
  expect_error(ErrorKind::InvalidArgument, "undefined", [&] { Tensor().copy(); });
  expect_error(ErrorKind::InvalidArgument, "to_scalar", [&] { x.to_scalar<float>(); });
}

TEST_F(TensorTest, BlocksHaveNoInnerViews) {
  const std::vector<std::byte> bytes(4 * 34);
  const Tensor x = Tensor::from_bytes(bytes, {2, 64}, DType::Q8_0, cpu);
  EXPECT_EQ(x.narrow(0, 1, 1).shape(), (Shape{1, 64}));
  expect_error(ErrorKind::Unsupported, "cut blocks of 32", [&] { x.narrow(1, 3, 32); });
  expect_error(ErrorKind::Unsupported, "transpose", [&] { x.t(); });
  expect_error(ErrorKind::InvalidArgument, "multiple of 32",
               [&] { Tensor::empty({2, 33}, DType::Q8_0, cpu); });
}

TEST(Transfer, DecodesBlocksByHand) {
  // Scale 0.5 (F16 0x3800); Q8_0 bytes 1, -2, 0, ...
  std::vector<std::byte> q8(34);
  q8[1] = std::byte{0x38};
  q8[2] = std::byte{1};
  q8[3] = std::byte{0xfe};
  const std::vector<double> eight = to_doubles(q8, DType::Q8_0, 32);
  EXPECT_EQ(eight[0], 0.5);
  EXPECT_EQ(eight[1], -1.0);
  // Scales 0.5 and 2 (0x4000) of sixteen bytes each.
  std::vector<std::byte> q816(36);
  q816[1] = std::byte{0x38};
  q816[3] = std::byte{0x40};
  q816[4 + 15] = std::byte{3};
  q816[4 + 16] = std::byte{0xff};
  const std::vector<double> halves = to_doubles(q816, DType::Q8_16, 32);
  EXPECT_EQ(halves[15], 1.5);
  EXPECT_EQ(halves[16], -2.0);
  // Low half of byte 0 is weight 0, its high half weight 16; Q4_0 counts from -8.
  std::vector<std::byte> q4(18);
  q4[1] = std::byte{0x38};
  q4[2] = std::byte{0xf1};
  const std::vector<double> four = to_doubles(q4, DType::Q4_0, 32);
  EXPECT_EQ(four[0], 0.5 * (1 - 8));
  EXPECT_EQ(four[16], 0.5 * (15 - 8));
  EXPECT_EQ(four[1], -4.0);
}

TEST(Transfer, SplitsAtRowsThatFit) {
  Limits limits;
  EXPECT_EQ(split_unit({128, 768, 2048}, DType::BF16, limits), 768u * 2048u * 2u);
  limits.max_binding_bytes = 1 << 20;
  EXPECT_EQ(split_unit({128, 768, 2048}, DType::BF16, limits), 4096u);
  EXPECT_EQ(split_unit({1, 100}, DType::F32, limits), 4u);
  EXPECT_EQ(split_unit({5, 64}, DType::Q8_0, limits), 68u);
  EXPECT_EQ(split_unit({64}, DType::Q8_0, limits), 68u);
}

}  // namespace
}  // namespace candela
