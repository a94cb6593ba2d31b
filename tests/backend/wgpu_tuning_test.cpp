// Every shape that tuning may choose computes the same.
#include <cmath>
#include <filesystem>
#include <fstream>

#include "backend/wgpu/tuning.h"
#include "wgpu_fixture.h"

namespace candela::wgpu {
namespace {

View random_view(const Shape& shape, DType dtype, uint64_t seed) {
  const View view = make_view(test_backend(), shape, dtype);
  test_backend().random(RandomKind::normal, seed, 0.0f, 0.3f, view);
  return view;
}

constexpr int64_t kHidden = 512, kInner = 72, kExperts = 9;

struct Experts {
  View norm = random_view({kHidden}, DType::BF16, 2);
  View router = random_view({kExperts, kHidden}, DType::BF16, 3);
  View gate = random_view({kExperts, kInner, kHidden}, DType::BF16, 4);
  View up = random_view({kExperts, kInner, kHidden}, DType::BF16, 5);
  View down = random_view({kExperts, kHidden, kInner}, DType::BF16, 6);

  void run(const View& x, const View& y) const {
    test_backend().moe_block({x, norm, 1e-6f, router, 3, true, gate, up, down}, y);
  }
};

/// Experts of one token or of a prompt.
View experts_of(int64_t tokens) {
  const View y = make_view(test_backend(), {tokens, kHidden}, DType::F32);
  Experts().run(random_view({tokens, kHidden}, DType::F32, 1), y);
  return y;
}

std::vector<float> results() {
  const View z = make_view(test_backend(), {1, 37}, DType::F32);
  LinearArgs linear{
      random_view({1, kHidden}, DType::F32, 1), random_view({37, kHidden}, DType::BF16, 7), {}, {}};
  test_backend().linear(linear, z);
  std::vector<float> all;
  for (const View& view : {experts_of(1), experts_of(72), z}) {
    const std::vector<float> values = get<float>(test_backend(), view);
    all.insert(all.end(), values.begin(), values.end());
  }
  return all;
}

TEST(WgpuTuning, EveryChoiceComputesTheSame) {
  test_backend().set_tuning({});
  const std::vector<float> expected = results();
  for (const TuningField& field : tuning_fields()) {
    for (const uint32_t choice : field.choices) {
      Tuning tuning;
      tuning.*field.value = choice;
      test_backend().set_tuning(tuning);
      const std::vector<float> got = results();
      ASSERT_EQ(got.size(), expected.size());
      for (size_t i = 0; i < got.size(); ++i) {
        ASSERT_NEAR(got[i], expected[i], 1e-4f * (1.0f + std::abs(expected[i])))
            << field.name << " " << choice << ", element " << i;
      }
    }
  }
  test_backend().set_tuning({});
}

TEST(WgpuTuning, CountedTilesFollowTheRoutingOfEachReplay) {
  Tuning tuning;
  tuning.counted_expert_tiles = 1;
  test_backend().set_tuning(tuning);
  const Experts experts;
  constexpr int64_t kTokens = 200;
  const View x = make_view(test_backend(), {kTokens, kHidden}, DType::F32);
  const View y = make_view(test_backend(), {kTokens, kHidden}, DType::F32);
  const View expected = make_view(test_backend(), {kTokens, kHidden}, DType::F32);
  // Alike tokens choose three experts, 21 tiles of 32; later all experts are chosen: 27 tiles.
  test_backend().fill(x, 0.5);
  const auto step = test_backend().capture([&] { experts.run(x, y); });
  ASSERT_TRUE(step);
  for (const uint64_t seed : {21, 22}) {
    test_backend().random(RandomKind::normal, seed, 0.0f, 0.3f, x);
    test_backend().replay(*step);
    experts.run(x, expected);
    EXPECT_EQ(get<float>(test_backend(), y), get<float>(test_backend(), expected));
  }
  test_backend().set_tuning({});
}

TEST(WgpuTuning, IsReadFromText) {
  const Tuning tuning = parse_tuning("expert_down_rows=8,counted_expert_tiles=1");
  EXPECT_EQ(tuning.expert_down_rows, 8u);
  EXPECT_EQ(tuning.counted_expert_tiles, 1u);
  EXPECT_EQ(tuning.short_matrix_subgroups, Tuning{}.short_matrix_subgroups);
  expect_error(ErrorKind::InvalidArgument, "expert_down_rows=1|2|4|8",
               [] { parse_tuning("expert_down_rows=3"); });
}

TEST(WgpuTuning, IsKeptInAFileAndABrokenFileIsMeasuredAgain) {
  const auto file = std::filesystem::temp_directory_path() / "candela_tuning_test" / "gpu.txt";
  std::filesystem::remove_all(file.parent_path());
  Tuning read;
  EXPECT_FALSE(read_tuning(file.string(), read));
  Tuning tuning;
  tuning.expert_down_rows = 8;
  write_tuning(file.string(), tuning);
  EXPECT_TRUE(read_tuning(file.string(), read));
  EXPECT_EQ(read, tuning);
  std::ofstream(file) << "expert_down_rows 3\n";
  EXPECT_FALSE(read_tuning(file.string(), read)) << "no choice of this field, and others missing";
  EXPECT_EQ(read, tuning);
  std::filesystem::remove_all(file.parent_path());
}

}  // namespace
}  // namespace candela::wgpu
