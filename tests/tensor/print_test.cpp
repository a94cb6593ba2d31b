#include <gtest/gtest.h>

#include "tensor/tensor.h"

namespace candela {
namespace {

class Print : public testing::Test {
 protected:
  // The numbers alone: what stands before the dtype.
  static std::string numbers(const Tensor& x) {
    const std::string text = to_string(x);
    return text.substr(0, text.find(", dtype="));
  }
  Device cpu = Device::cpu(1);
};

TEST_F(Print, Columns) {
  EXPECT_EQ(numbers(Tensor::from_vector<float>({1.5f, -2, 3, 10.25f}, {2, 2}, cpu)),
            "tensor([[ 1.5000, -2.0000],\n"
            "        [ 3.0000, 10.2500]]");
  EXPECT_EQ(numbers(Tensor::from_vector<float>({1, 20}, {2}, cpu)), "tensor([ 1., 20.]");
  EXPECT_EQ(numbers(Tensor::from_vector<int32_t>({1, -20}, {2}, cpu)), "tensor([  1, -20]");
  EXPECT_EQ(numbers(Tensor::from_scalar<float>(0.5f, cpu)), "tensor(0.5000");
  EXPECT_EQ(numbers(Tensor::zeros({0, 3}, DType::F32, cpu)), "tensor([]");
}

TEST_F(Print, ScientificForWideRanges) {
  EXPECT_EQ(numbers(Tensor::from_vector<float>({1e-5f, 1}, {2}, cpu)),
            "tensor([1.0000e-05, 1.0000e+00]");
}

TEST_F(Print, StacksAreSetApart) {
  EXPECT_EQ(numbers(Tensor::zeros({2, 1, 2}, DType::U32, cpu)),
            "tensor([[[0, 0]],\n\n"
            "        [[0, 0]]]");
}

TEST_F(Print, SummarisesByEdges) {
  EXPECT_EQ(numbers(Tensor::arange(0, 2000, 1, DType::F32, cpu)),
            "tensor([   0.,    1.,    2., ..., 1997., 1998., 1999.]");
  const std::string text = numbers(Tensor::zeros({40, 40}, DType::U32, cpu));
  EXPECT_EQ(text,
            "tensor([[0, 0, 0, ..., 0, 0, 0],\n"
            "        [0, 0, 0, ..., 0, 0, 0],\n"
            "        [0, 0, 0, ..., 0, 0, 0],\n"
            "        ...,\n"
            "        [0, 0, 0, ..., 0, 0, 0],\n"
            "        [0, 0, 0, ..., 0, 0, 0],\n"
            "        [0, 0, 0, ..., 0, 0, 0]]");
}

TEST_F(Print, SaysDTypeShapeAndDevice) {
  const std::string text = to_string(Tensor::zeros({2}, DType::BF16, cpu));
  EXPECT_NE(text.find("dtype=BF16, shape=[2], device=cpu"), std::string::npos) << text;
  EXPECT_EQ(to_string(Tensor()), "tensor(undefined)");
}

}  // namespace
}  // namespace candela
