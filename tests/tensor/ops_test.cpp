// Values worked out by hand and the texts of refusals; numbers in bulk are the parity table's.
#include "tensor/ops.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "base/error.h"

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

class OpsTest : public testing::Test {
 protected:
  Tensor of(const std::vector<float>& values, const Shape& shape) {
    return Tensor::from_vector(values, shape, cpu);
  }
  Tensor ids(const std::vector<uint32_t>& values, const Shape& shape) {
    return Tensor::from_vector(values, shape, cpu);
  }
  Device cpu = Device::cpu(1);
};

TEST_F(OpsTest, Operators) {
  const Tensor x = of({1, 2}, {2});
  EXPECT_THAT((x + x * 3.0 - 1.0).to_vec<float>(), ElementsAre(3, 7));
  EXPECT_THAT((x / of({2, 4}, {2})).to_vec<float>(), ElementsAre(0.5f, 0.5f));
  const Tensor n = Tensor::from_vector<int32_t>({1, -2}, {2}, cpu);
  EXPECT_THAT((n * n + 1.0).to_vec<int32_t>(), ElementsAre(2, 5));
}

TEST_F(OpsTest, Reductions) {
  const Tensor x = of({1, 2, 3, 4, 5, 9}, {2, 3});
  EXPECT_THAT(sum(x, 0).to_vec<float>(), ElementsAre(5, 7, 12));
  EXPECT_THAT(mean(x, -1).to_vec<float>(), ElementsAre(2, 6));
  EXPECT_THAT(var(x, 1).to_vec<float>(), ElementsAre(1, 7));
  EXPECT_EQ(sum(x, 1, true).shape(), (Shape{2, 1}));
  EXPECT_EQ(sum_all(x).to_scalar<float>(), 24);
  EXPECT_THAT(argmax(x, 1).to_vec<uint32_t>(), ElementsAre(2, 2));
  EXPECT_THAT(cumsum(x, 0).to_vec<float>(), ElementsAre(1, 2, 3, 5, 7, 12));
  const auto [values, indices] = top_k(of({1, 7, 7, 3}, {4}), 3);
  EXPECT_THAT(values.to_vec<float>(), ElementsAre(7, 7, 3));
  EXPECT_THAT(indices.to_vec<uint32_t>(), ElementsAre(1, 2, 3));
}

TEST_F(OpsTest, LogSumExpOfMaskedRow) {
  const float minus = -std::numeric_limits<float>::infinity();
  EXPECT_EQ(log_sum_exp(of({minus, minus}, {2}), 0).to_scalar<float>(), minus);
  EXPECT_THAT(softmax(of({minus, minus}, {1, 2}), -1).to_vec<float>(), ElementsAre(0, 0));
}

TEST_F(OpsTest, Indexing) {
  const Tensor table = of({0, 1, 10, 11, 20, 21}, {3, 2});
  EXPECT_THAT(embedding(table, ids({2, 0}, {1, 2})).to_vec3<float>(),
              ElementsAre(ElementsAre(ElementsAre(20, 21), ElementsAre(0, 1))));
  EXPECT_THAT(index_select(table, 1, ids({1}, {1})).to_vec<float>(), ElementsAre(1, 11, 21));
  EXPECT_THAT(gather(table, 0, ids({2, 0}, {1, 2})).to_vec<float>(), ElementsAre(20, 1));
  EXPECT_THAT(scatter_add(of({0, 0}, {2}), 0, ids({1, 1}, {2}), of({3, 4}, {2})).to_vec<float>(),
              ElementsAre(0, 7));
  write_rows(table, ids({1}, {1}), of({5, 6}, {1, 2}));
  EXPECT_THAT(table.to_vec<float>(), ElementsAre(0, 1, 5, 6, 20, 21));
}

TEST_F(OpsTest, Linear) {
  const Tensor y = linear(of({1, 2}, {1, 1, 2}), of({1, 0, 0, 1, 1, 1}, {3, 2}),
                          of({0, 0, 10}, {3}), of({100, 0, 0}, {1, 1, 3}));
  EXPECT_EQ(y.shape(), (Shape{1, 1, 3}));
  EXPECT_THAT(y.to_vec<float>(), ElementsAre(101, 2, 13));
}

TEST_F(OpsTest, Convolutions) {
  const Tensor x = of({1, 2, 3, 4}, {1, 1, 4});
  const Tensor w = of({1, 10}, {1, 1, 2});
  EXPECT_THAT(conv1d(x, w, std::nullopt).to_vec<float>(), ElementsAre(21, 32, 43));
  EXPECT_THAT(conv1d(x, w, std::nullopt, {.pad_left = 1}).to_vec<float>(),
              ElementsAre(10, 21, 32, 43));
  EXPECT_THAT(
      conv_transpose1d(of({1, 2}, {1, 1, 2}), w, of({0.5f}, {1}), {.stride = 2}).to_vec<float>(),
      ElementsAre(1.5f, 10.5f, 2.5f, 20.5f));
}

TEST_F(OpsTest, AttentionOfOneKeyIsItsValue) {
  const Tensor q = of({1, 0, 0, 1}, {2, 1, 2});
  const Tensor k = of({1, 1, 2, 2}, {1, 2, 2});
  const Tensor v = of({3, 4, 5, 6}, {1, 2, 2});
  EXPECT_THAT(attention(q, k, v, ids({1, 2}, {1, 2}), 1.0f).to_vec<float>(),
              ElementsAre(5, 6, 5, 6));
}

TEST_F(OpsTest, RefusalsNameOpAndShapes) {
  const Tensor x = of({1, 2, 3, 4, 5, 6}, {2, 3});
  const Tensor n = Tensor::zeros({2, 3}, DType::I32, cpu);
  expect_error(ErrorKind::InvalidArgument,
               "matmul: inner sizes differ, 3 and 2 (a F32 [2, 3], b F32 [2, 3])",
               [&] { matmul(x, x); });
  expect_error(ErrorKind::InvalidArgument, "linear: inner sizes differ",
               [&] { linear(x, x.t().contiguous()); });
  expect_error(ErrorKind::InvalidArgument, "Shapes [2, 3] and [3, 2]", [&] { add(x, x.t()); });
  expect_error(ErrorKind::Unsupported, "add: the dtypes F32 and I32", [&] { add(x, n); });
  expect_error(ErrorKind::Unsupported, "div: integers", [&] { div(n, n); });
  expect_error(ErrorKind::Unsupported, "exp: x is I32", [&] { exp(n); });
  expect_error(ErrorKind::InvalidArgument, "softmax: axis 2", [&] { softmax(x, 2); });
  expect_error(ErrorKind::InvalidArgument, "max: axis 0 is empty",
               [&] { max(Tensor::zeros({0}, DType::F32, cpu), 0); });
  expect_error(ErrorKind::InvalidArgument, "top_k: k is 4", [&] { top_k(x, 4); });
  expect_error(ErrorKind::Unsupported, "embedding: ids is F32",
               [&] { embedding(x, of({1}, {1})); });
  expect_error(ErrorKind::InvalidArgument, "cat", [&] {
    const Tensor p[] = {x, x.t()};
    cat(p, 0);
  });
  expect_error(ErrorKind::InvalidArgument, "rms_norm: weight should have the shape [3]",
               [&] { rms_norm(x, of({1, 1}, {2}), 1e-6f); });
  expect_error(ErrorKind::InvalidArgument, "x is undefined", [&] { exp(Tensor()); });
}

TEST_F(OpsTest, OperandsShareOneDevice) {
  const Tensor here = Tensor::zeros({2}, DType::F32, cpu);
  const Tensor there = Tensor::zeros({2}, DType::F32, Device::cpu(1));
  expect_error(ErrorKind::InvalidArgument, "move one of them with to_device",
               [&] { add(here, there); });
}

TEST_F(OpsTest, BlocksAreWeightsOnly) {
  const std::vector<std::byte> bytes(2 * 34);
  const Tensor blocks = Tensor::from_bytes(bytes, {2, 32}, DType::Q8_0, cpu);
  expect_error(ErrorKind::Unsupported, "silu: x is Q8_0", [&] { silu(blocks); });
  expect_error(ErrorKind::Unsupported, "matmul: b is Q8_0",
               [&] { matmul(Tensor::zeros({1, 2}, DType::F32, cpu), blocks); });
  EXPECT_THAT(linear(Tensor::ones({1, 32}, DType::F32, cpu), blocks).to_vec<float>(),
              ElementsAre(0, 0));
}

}  // namespace
}  // namespace candela
