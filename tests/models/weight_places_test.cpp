// Wherever the weights of a model lie, its logits are the same: bit for bit, and to rounding where
// tensors are read at multiples of 8 bytes, by kernels that sum in another order.
#include <cmath>

#include "models/support.h"

namespace candela::models {
namespace {

Device open(WeightMode mode) {
  WgpuOptions options;
  options.checked = true;
  options.weights = mode;
  return Device::wgpu(options);
}

struct Logits {
  std::vector<float> prefill, decode;
  uint64_t uploads = 0, reserved = 0;
  bool operator==(const Logits& other) const {
    return prefill == other.prefill && decode == other.decode;
  }
};

Logits run(const std::string& path, WeightMode mode) {
  const Device device = open(mode);
  const uint64_t uploads = device.counters().uploads;
  const auto model = load_model(open_model(path), device);
  Logits result;
  result.uploads = device.counters().uploads - uploads;
  result.reserved = device.counters().bytes_reserved;
  nn::KvCache cache = model->text.make_cache(DType::F32, 0);
  nn::KvSequence sequence;
  const auto forward = [&](std::vector<uint32_t> ids) {
    const nn::StepRow row{&sequence, ids, false};
    return model->text.forward({&row, 1}, cache).to_vec<float>();
  };
  std::vector<uint32_t> prompt(40);  // enough for the tiles of prefill
  for (uint32_t i = 0; i < prompt.size(); ++i) {
    prompt[i] = 3 + i * 7;
  }
  result.prefill = forward(prompt);
  result.decode = forward({11});
  return result;
}

/// No value is further off than 1e-4 of their root mean square.
void expect_close(const std::vector<float>& got, const std::vector<float>& expected) {
  ASSERT_EQ(got.size(), expected.size());
  double square = 0.0, worst = 0.0;
  for (size_t i = 0; i < got.size(); ++i) {
    square += double{expected[i]} * expected[i];
    worst = std::max(worst, std::abs(double{got[i]} - expected[i]));
  }
  EXPECT_LE(worst, 1e-4 * std::sqrt(square / static_cast<double>(got.size())));
}

class WeightPlaces : public testing::TestWithParam<std::string> {};

TEST_P(WeightPlaces, GiveTheSameLogits) {
  const Logits copied = run(GetParam(), WeightMode::Copy);
  ASSERT_EQ(open(WeightMode::Copy).backend().weight_place(), WeightPlace::DeviceMemory);
  const Device device = open(WeightMode::Auto);
  const WeightPlace place = device.backend().weight_place();
  EXPECT_EQ(run(GetParam(), WeightMode::Auto), copied);
  if (place != WeightPlace::DeviceMemory) {
    EXPECT_EQ(run(GetParam(), WeightMode::Host), copied);
  }
  if (place == WeightPlace::FilePages) {
    const Logits mapped = run(GetParam(), WeightMode::Map);
    expect_close(mapped.prefill, copied.prefill);
    expect_close(mapped.decode, copied.decode);
    EXPECT_LT(mapped.uploads, copied.uploads) << "nothing was read in place";
    EXPECT_LT(mapped.reserved, copied.reserved);
  }
}

INSTANTIATE_TEST_SUITE_P(Models,
                         WeightPlaces,
                         testing::Values(kTinyOmni, kTinyQwen3, kTinyMoe),
                         [](const auto& model) {
                           return model.param.substr(model.param.rfind('/') + 1) == "tiny-omni"
                                      ? std::string("tiny_omni")
                                      : model.param.substr(model.param.rfind('/') + 1);
                         });

/// The same tensors once at multiples of 16 bytes of the file and once 8 bytes beyond.
TEST(WeightPlaces, EightBytesMoreBeforeTheData) {
  if (open(WeightMode::Auto).backend().weight_place() != WeightPlace::FilePages) {
    GTEST_SKIP() << "the driver does not read pages of files";
  }
  const Logits copied = run(kTinyQwen3, WeightMode::Copy);
  for (const char* name : {"", "12345678"}) {
    const test::TempFolder folder;
    const auto source = open_weights(kTinyQwen3);
    SafetensorsWriter writer;
    writer.set_metadata("pad", name);
    for (const WeightInfo& info : source->tensors()) {
      writer.add(info.name, {info.dtype, info.shape, {info.bytes.begin(), info.bytes.end()}});
    }
    writer.save(folder / "model.safetensors");
    test::write_file(folder.path() / "config.json", read_json(kTinyQwen3 + "/config.json").dump());
    SCOPED_TRACE(name);
    const Logits mapped = run(folder.path().string(), WeightMode::Map);
    expect_close(mapped.prefill, copied.prefill);
    expect_close(mapped.decode, copied.decode);
  }
}

}  // namespace
}  // namespace candela::models
