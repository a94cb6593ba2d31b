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

std::vector<float> results() {
  constexpr int64_t kHidden = 512, kInner = 72, kExperts = 9;
  const View x = random_view({1, kHidden}, DType::F32, 1);
  const View norm = random_view({kHidden}, DType::BF16, 2);
  const View y = make_view(test_backend(), {1, kHidden}, DType::F32);
  const View z = make_view(test_backend(), {1, 37}, DType::F32);
  test_backend().moe_block({x, norm, 1e-6f, random_view({kExperts, kHidden}, DType::BF16, 3), 3,
                            true, random_view({kExperts, kInner, kHidden}, DType::BF16, 4),
                            random_view({kExperts, kInner, kHidden}, DType::BF16, 5),
                            random_view({kExperts, kHidden, kInner}, DType::BF16, 6)},
                           y);
  LinearArgs linear{x, random_view({37, kHidden}, DType::BF16, 7), {}, {}};
  test_backend().linear(linear, z);
  std::vector<float> all = get<float>(test_backend(), y);
  const std::vector<float> more = get<float>(test_backend(), z);
  all.insert(all.end(), more.begin(), more.end());
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
