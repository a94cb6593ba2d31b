// A kernel of one's own on candela's device: WGSL in, tensors as operands.
#include <fmt/core.h>

#include "backend/wgpu/custom.h"
#include "base/error.h"
#include "tensor/ops.h"

using namespace candela;

namespace {

// y = a x + b, one thread an element. Operands are bindings 0 and 1, the params come last.
constexpr const char* kSaxpy = R"(
struct Params {
  count: u32,
  a: f32,
  b: f32,
}
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x < params.count) {
    y[id.x] = params.a * x[id.x] + params.b;
  }
}
)";

struct Params {
  uint32_t count = 0;
  float a = 0.0f;
  float b = 0.0f;
};

Tensor my_affine(const Tensor& x, float a, float b) {
  // The shader reads from element 0 in row-major order, so the input must lie like that.
  const Tensor from = x.layout().offset == 0 ? x.contiguous() : x.copy();
  const Tensor y = Tensor::empty(x.shape(), DType::F32, x.device());
  const Params params{static_cast<uint32_t>(x.elements()), a, b};
  wgpu::run_custom_kernel(x.device(), "my_affine", kSaxpy, (params.count + 63) / 64, 1,
                          std::as_bytes(std::span(&params, 1)),
                          {{from.view(), false}, {y.view(), true}});
  return y;
}

}  // namespace

int main() {
  try {
    const Device gpu = Device::wgpu();
    const Tensor x = Tensor::arange(0, 1000, 1, DType::F32, gpu);
    const Tensor y = my_affine(x, 2.0f, 1.0f);
    fmt::print("{}\n", to_string(y));
    // It mixes with candela's own ops in one queue.
    const float apart = max(abs(y - affine(x, 2.0, 1.0)), 0).to_scalar<float>();
    fmt::print("largest difference to affine: {}\n", apart);
    return apart == 0.0f ? 0 : 1;
  } catch (const Error& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
