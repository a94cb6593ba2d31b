// Loads weights from safetensors files onto a WebGPU device and moves tensors between devices:
//   wgpu_varbuilder [MODEL]
// MODEL is a folder or a .safetensors file; without one, a small file is written first.
#include <fmt/core.h>

#include <cstdlib>
#include <filesystem>

#include "base/error.h"
#include "tensor/ops.h"
#include "weights/weights.h"
#include "weights/writer.h"

using namespace candela;

namespace {

/// A layer with a weight [2, 3] and a norm [3], written as a training program would.
std::string write_small_file() {
  const Device cpu = Device::cpu();
  SafetensorsWriter writer;
  writer.add("layers.0.weight",
             Tensor::from_vector<float>({1, 2, 3, 4, 5, 6}, {2, 3}, cpu).to_dtype(DType::BF16));
  writer.add("layers.0.norm", Tensor::ones({3}, DType::F32, cpu));
  const auto path = std::filesystem::temp_directory_path() / "candela_varbuilder.safetensors";
  writer.save(path.string());
  return path.string();
}

void use_small_file(const Device& gpu) {
  const std::string path = write_small_file();
  const Weights weights(open_weights(path), gpu);
  const Weights layer = weights.pp("layers").pp(0);
  // The expected shape is checked; the weight stays BF16 on the device.
  const Tensor weight = layer.get("weight", {2, 3});
  const Tensor norm = layer.get("norm", {3});
  const Tensor x = Tensor::from_vector<float>({1, 0, -1}, {1, 3}, gpu);
  const Tensor y = matmul(mul(x, norm), weight.t());
  fmt::print("y on {}:\n{}\n", gpu.name(), to_string(y));

  const Device cpu = Device::cpu();
  const Tensor back = y.to_device(cpu).to_device(gpu);
  const std::vector<float> values = back.to_vec<float>();
  fmt::print("there and back: {} {} (expected -2 -2)\n", values.at(0), values.at(1));
  if (values != std::vector<float>{-2, -2}) {
    fail(ErrorKind::Internal, Subject::Device, "The numbers changed on the way.");
  }
  std::filesystem::remove(path);
}

void load_everything(const std::string& model, const Device& gpu) {
  const Weights weights(open_weights(model), gpu);
  uint64_t bytes = 0;
  weights.on_progress(0, [&](uint64_t done, uint64_t) { bytes = done; });
  std::vector<Tensor> tensors;
  for (const WeightInfo& info : weights.source().tensors()) {
    tensors.push_back(weights.get(info.name, info.shape));
  }
  gpu.synchronize();
  fmt::print("{}: {} tensors, {} bytes on {}, {} left unread\n", model, tensors.size(), bytes,
             gpu.name(), weights.unread().size());
}

}  // namespace

int main(int argc, char** argv) try {
  const Device gpu = Device::wgpu();
  use_small_file(gpu);
  const char* named = std::getenv("CANDELA_EXAMPLE_MODEL");
  if (argc > 1 || named != nullptr) {
    load_everything(argc > 1 ? argv[1] : named, gpu);
  }
  return 0;
} catch (const std::exception& error) {
  fmt::print(stderr, "error: {}\n", error.what());
  return 1;
}
