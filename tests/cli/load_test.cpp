// Where weights lie and how fast they load, through the program.
#include "cli/support.h"

namespace candela::test {
namespace {

using nlohmann::ordered_json;
using testing::HasSubstr;

/// The tiny model's config, as of a checkpoint to write.
const std::string kConfig = kOmni + "/config.json";

TEST(Weights, AnswersDoNotDependOnWhereTheyLie) {
  const auto answer = [](const char* where) {
    return candela({"run", kOmni, "hi", "-n", "4", "-q", "--device", "wgpu", "--weights", where});
  };
  const Result copied = answer("copy");
  ASSERT_EQ(copied.code, 0) << copied.err;
  EXPECT_EQ(answer("auto").out, copied.out);
  const Result mapped = answer("map");
  if (mapped.code == 0) {
    EXPECT_EQ(mapped.out, copied.out);
  } else {
    expect_error(mapped, 5, "use --weights auto");
  }
  expect_error(answer("gpu"), 2, "auto, copy, host or map");
}

TEST(BenchLoad, WritesACheckpointAndMeasuresIt) {
  const TempFolder folder;
  const std::string model = folder / "model";
  const Result written = candela(
      {"bench", "--write-checkpoint", model, "--synthetic", kConfig, "--layers", "2", "-q"});
  ASSERT_EQ(written.code, 0) << written.err;
  EXPECT_EQ(candela({"verify", model, "-q"}).code, 0);
  for (const char* where : {"copy", "auto"}) {
    const Result result =
        candela({"bench", model, "--load", "--json", "-q", "--device", "wgpu", "--weights", where});
    ASSERT_EQ(result.code, 0) << result.err;
    const ordered_json json = ordered_json::parse(result.out);
    EXPECT_GT(json["bytes"], 100'000);
    ASSERT_EQ(json["results"].size(), 2u);
    EXPECT_EQ(json["results"][0]["state"], "cold");
    for (const ordered_json& row : json["results"]) {
      EXPECT_GT(row["load"], 0.0);
      EXPECT_GT(row["disk"], 0.0);
      EXPECT_GT(row["share"], 0.0);
    }
  }
  expect_error(candela({"bench", "--write-checkpoint", model, "--synthetic", kConfig}), 2,
               "no new or empty folder");
  expect_error(candela({"bench", model, "--load", "--device", "cpu", "-q"}), 2, "--device wgpu");
}

}  // namespace
}  // namespace candela::test
