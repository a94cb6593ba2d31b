#include "weights/weights.h"

#include <gtest/gtest.h>

#include <cmath>

#include "files.h"
#include "weights/npy.h"
#include "weights/writer.h"

namespace candela {
namespace {

using test::bytes_of;
using test::expect_error;
using test::TempFolder;

HostArray floats(const Shape& shape, float first) {
  HostArray array{DType::F32, shape, {}};
  for (int64_t i = 0; i < shape.elements(); ++i) {
    const auto bytes = bytes_of(test::little(first + static_cast<float>(i)));
    array.bytes.insert(array.bytes.end(), bytes.begin(), bytes.end());
  }
  return array;
}

class WeightsTest : public testing::Test {
 protected:
  WeightsTest() {
    SafetensorsWriter writer;
    writer.add("model.norm.weight", floats({3}, 1.0f));
    for (int expert = 0; expert < 3; ++expert) {
      writer.add("model.layers.0.experts." + std::to_string(expert) + ".up.weight",
                 floats({2, 4}, static_cast<float>(10 * expert)));
    }
    // Between the experts, so that they do not lie side by side.
    writer.add("model.layers.0.experts.1.scale", floats({1}, 0.0f));
    writer.add("model.layers.1.up.weight",
               HostArray{DType::BF16, {1, 2}, bytes_of(std::string_view("\x80\x3f\0\x40", 4))});
    writer.add("other.ids", HostArray{DType::I64, {1}, std::vector<std::byte>(8)});
    writer.save(file_);
  }
  Weights open() { return Weights(open_weights(file_), Device::cpu()); }

  TempFolder folder_;
  std::string file_ = folder_ / "model.safetensors";
};

TEST_F(WeightsTest, ReadsInPlaceOnTheCpu) {
  const Weights weights = open();
  const uint64_t before = weights.device().counters().bytes_reserved;
  const Tensor norm = weights.pp("model").get("norm.weight", {3});
  EXPECT_EQ(norm.to_vec<float>(), (std::vector<float>{1, 2, 3}));
  const Tensor up = weights.pp("model").pp("layers").pp(1).get("up.weight");
  EXPECT_EQ(up.dtype(), DType::BF16);
  EXPECT_EQ(up.shape(), (Shape{1, 2}));
  EXPECT_EQ(up.to_vec<float>(), (std::vector<float>{1, 2}));
  EXPECT_EQ(weights.device().counters().bytes_reserved, before) << "weights were copied";
}

TEST_F(WeightsTest, TensorsOutliveTheWeights) {
  Tensor norm;
  {
    norm = open().get("model.norm.weight");
  }
  EXPECT_EQ(norm.to_vec<float>(), (std::vector<float>{1, 2, 3}));
}

TEST_F(WeightsTest, StacksExperts) {
  const Weights weights = open();
  const Tensor up = weights.pp("model.layers.0.experts").get_stacked(3, "up.weight", {2, 4});
  EXPECT_EQ(up.shape(), (Shape{3, 2, 4}));
  std::vector<float> expected;
  for (int i = 0; i < 24; ++i) {
    expected.push_back(static_cast<float>(10 * (i / 8) + i % 8));
  }
  EXPECT_EQ(up.copy().to_vec<float>(), expected);
  EXPECT_EQ(up.get(1).copy().to_vec<float>()[0], 10.0f);
  expect_error(ErrorKind::NotFound, "experts.3.up.weight", [&] {
    (void)weights.pp("model.layers.0.experts").get_stacked(4, "up.weight", {2, 4});
  });
  expect_error(ErrorKind::CorruptData, "[2, 4]", [&] {
    (void)weights.pp("model.layers.0.experts").get_stacked(3, "up.weight", {4, 2});
  });
}

TEST_F(WeightsTest, ErrorsNameTensorFileAndShapes) {
  const Weights weights = open();
  for (const char* part : {"model.norm.weight", "model.safetensors", "[3]", "[4]"}) {
    expect_error(ErrorKind::CorruptData, part,
                 [&] { (void)weights.get("model.norm.weight", {4}); });
  }
  expect_error(ErrorKind::NotFound,
               "no tensor thinker.layers.1.up.weight; similar: model.layers.1.up.weight",
               [&] { (void)weights.pp("thinker").get("layers.1.up.weight"); });
  expect_error(ErrorKind::NotFound, "no tensor x.", [&] { (void)weights.info("x"); });
}

TEST_F(WeightsTest, KnowsWhatNobodyRead) {
  const Weights weights = open();
  EXPECT_EQ(weights.unread().size(), 7u);
  EXPECT_TRUE(weights.contains("other.ids"));
  EXPECT_FALSE(weights.pp("other").contains("other.ids"));
  EXPECT_EQ(weights.info("other.ids").dtype, DType::I64);
  EXPECT_EQ(weights.unread().size(), 7u) << "looking is not reading";
  (void)weights.pp("model").get("norm.weight");
  weights.pp("model").ignore("layers.0");
  weights.ignore("oth");
  EXPECT_EQ(weights.unread(), (std::vector<std::string>{"other.ids", "model.layers.1.up.weight"}));
  weights.pp("model").ignore("");
  weights.ignore("other.");
  EXPECT_TRUE(weights.unread().empty());
}

TEST_F(WeightsTest, RenamesWhatModelsAskFor) {
  const Weights weights = open().with_renamer([](std::string_view name) {
    return name.starts_with("layers.") ? "model." + std::string(name) : std::string(name);
  });
  EXPECT_EQ(weights.pp("layers").pp(1).get("up.weight", {1, 2}).dtype(), DType::BF16);
  EXPECT_TRUE(weights.contains("other.ids"));
  expect_error(ErrorKind::NotFound, "no tensor model.layers.9.up.weight (for layers.9.up.weight)",
               [&] { (void)weights.get("layers.9.up.weight"); });
  weights.ignore("layers.0");
  EXPECT_EQ(weights.unread(), (std::vector<std::string>{"other.ids", "model.norm.weight"}));
}

TEST_F(WeightsTest, OneNameForAllExpertsIsAStackedTensor) {
  SafetensorsWriter writer;
  writer.add("exps", floats({2, 1, 2}, 5.0f));
  writer.save(file_);
  const Weights weights = open().with_renamer([](std::string_view) { return "exps"; });
  EXPECT_EQ(weights.get_stacked(2, "w", {1, 2}).to_vec<float>(), (std::vector<float>{5, 6, 7, 8}));
  expect_error(ErrorKind::CorruptData, "[3, 1, 2]",
               [&] { (void)weights.get_stacked(3, "w", {1, 2}); });
}

TEST_F(WeightsTest, ReportsProgress) {
  const Weights weights = open();
  std::vector<std::pair<uint64_t, uint64_t>> seen;
  weights.on_progress(0, [&](uint64_t done, uint64_t total) { seen.emplace_back(done, total); });
  (void)weights.get("model.norm.weight");
  (void)weights.pp("model.layers.0.experts").get_stacked(3, "up.weight", {2, 4});
  // 12 bytes, then three times 32; in all also 4 of BF16, 8 of I64 and 4 in between.
  EXPECT_EQ(seen, (std::vector<std::pair<uint64_t, uint64_t>>{{12, 124}, {108, 124}}));
}

TEST_F(WeightsTest, OddAddressesAreCopied) {
  const std::string header = R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
  ASSERT_NE(header.size() % 4, 0u);
  test::write_file(file_, test::little<uint64_t>(header.size()) + header + test::little(2.5f));
  EXPECT_EQ(open().get("a", {1}).to_vec<float>(), (std::vector<float>{2.5f}));
}

TEST_F(WeightsTest, EmptyTensors) {
  SafetensorsWriter writer;
  writer.add("none", HostArray{DType::F32, {0, 4}, {}});
  writer.save(file_);
  EXPECT_TRUE(open().get("none", {0, 4}).to_vec<float>().empty());
}

TEST(SyntheticWeights, AnswersEveryName) {
  const Device device = Device::cpu();
  const Weights weights = Weights::synthetic(device, 7);
  EXPECT_TRUE(weights.is_synthetic());
  EXPECT_TRUE(weights.contains("anything"));
  EXPECT_EQ(weights.info("q.weight").dtype, DType::BF16);
  const Tensor q = weights.pp("layers").pp(0).get("q.weight", {64, 256});
  EXPECT_EQ(q.dtype(), DType::BF16);
  double squares = 0;
  for (const float value : q.to_vec<float>()) {
    squares += static_cast<double>(value) * static_cast<double>(value);
  }
  // Deviation 1/16 over 16,384 samples: the mean square is within 5 % of 1/256.
  EXPECT_NEAR(squares / (64 * 256) * 256, 1.0, 0.05);
  EXPECT_EQ(weights.pp("layers.0").info("q.weight").shape, (Shape{64, 256}));
  const Weights again = Weights::synthetic(device, 7);
  EXPECT_EQ(again.get("layers.0.q.weight", {64, 256}).to_bytes(), q.to_bytes());
  EXPECT_NE(again.get("layers.1.q.weight", {64, 256}).to_bytes(), q.to_bytes());
  EXPECT_EQ(weights.get("norm.weight", {2}).to_vec<float>(), (std::vector<float>{1, 1}));
  EXPECT_EQ(weights.get("q.bias", {2}).to_vec<float>(), (std::vector<float>{0, 0}));
  EXPECT_EQ(weights.pp("experts").get_stacked(4, "up.weight", {2, 8}).shape(), (Shape{4, 2, 8}));
  EXPECT_TRUE(weights.unread().empty());
  expect_error(ErrorKind::Unsupported, "shape", [&] { (void)weights.get("q"); });
  expect_error(ErrorKind::Unsupported, "no files", [&] { (void)weights.source(); });
}

TEST(NpyFiles, TensorsGoAndComeBack) {
  const TempFolder folder;
  const Device device = Device::cpu();
  const Tensor x = Tensor::from_vector<float>({1, 2, 3, 4, 5, 6}, {2, 3}, device);
  write_npy(folder / "x.npy", x.t());
  const Tensor y = read_npy(folder / "x.npy", device);
  EXPECT_EQ(y.shape(), (Shape{3, 2}));
  EXPECT_EQ(y.to_vec<float>(), (std::vector<float>{1, 4, 2, 5, 3, 6}));
}

TEST(TinyModels, EveryTensorLoads) {
  for (const std::string& path :
       {std::string(CANDELA_TINY_OMNI_DIR), std::string(CANDELA_GOLDEN_DIR) + "/tiny_qwen3",
        std::string(CANDELA_GOLDEN_DIR) + "/tiny_qwen3_moe"}) {
    SCOPED_TRACE(path);
    const Weights weights(open_weights(path), Device::cpu());
    for (const WeightInfo& info : weights.source().tensors()) {
      const Tensor tensor = weights.get(info.name, info.shape);
      EXPECT_EQ(tensor.view().storage->bytes(), info.bytes.size());
    }
    EXPECT_TRUE(weights.unread().empty());
  }
}

}  // namespace
}  // namespace candela
