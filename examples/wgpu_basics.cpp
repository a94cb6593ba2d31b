// Tensors on a WebGPU device: create, compute, BF16, views and back to the host.
#include <fmt/core.h>

#include <cmath>

#include "base/error.h"
#include "tensor/ops.h"

using namespace candela;

namespace {

void expect(bool right, const char* what) {
  if (!right) {
    fail(ErrorKind::Internal, Subject::Device, "{} came out wrong.", what);
  }
}

void compute(const Device& gpu) {
  const Tensor a = Tensor::from_vector<float>({1, 2, 3, 4, 5, 6}, {2, 3}, gpu);
  const Tensor b = Tensor::ones({2, 3}, DType::F32, gpu);
  const Tensor sum = a + b;
  fmt::print("a + b = {}\n", to_string(sum));
  expect(sum.to_vec<float>() == std::vector<float>{2, 3, 4, 5, 6, 7}, "a + b");

  // Views cost nothing; a transposed operand is read with its strides.
  const Tensor product = matmul(a, a.t());
  fmt::print("a x a^T = {}\n", to_string(product));
  expect(product.to_vec<float>() == std::vector<float>{14, 32, 32, 77}, "a x a^T");

  // BF16 weights stay BF16 in memory; products and sums are F32.
  const Tensor weight = Tensor::randn({4, 3}, 0.0, 1.0, 42, gpu).to_dtype(DType::BF16);
  const Tensor y = linear(a, weight);
  fmt::print("linear with BF16 weights = {}\n", to_string(y));

  // The same numbers on the CPU backend, which is the reference.
  const Device cpu = Device::cpu();
  const Tensor there = linear(a.to_device(cpu), weight.to_device(cpu));
  const std::vector<float> expected = there.to_vec<float>();
  const std::vector<float> actual = y.to_vec<float>();
  for (size_t i = 0; i < actual.size(); ++i) {
    expect(std::fabs(actual[i] - expected[i]) < 1e-4f, "linear");
  }
  const Tensor shares = softmax(y, -1);
  fmt::print("softmax = {}\nargmax of row 0 = {}\n", to_string(shares),
             argmax(shares.get(0), 0).to_scalar<uint32_t>());
}

}  // namespace

int main() {
  try {
    const Device gpu = Device::wgpu();
    fmt::print("device: {}\n", gpu.name());
    compute(gpu);
    return 0;
  } catch (const Error& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
