#include "nn/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"

namespace candela::nn {
namespace {

std::vector<uint32_t> ids_of(const std::vector<Candidate>& candidates) {
  std::vector<uint32_t> ids;
  for (const Candidate& candidate : candidates) {
    ids.push_back(candidate.id);
  }
  return ids;
}

using Ids = std::vector<uint32_t>;
const std::vector<float> kLogits = {2.0f, -1.0f, 0.5f, 3.0f, 0.0f, 1.0f};

// The order penalty, suppression, temperature, top-k, top-p; numbers by hand: 2.857143 = 3 / 1.05,
// divided by 0.9 is 3.174603; e^(2.222222 - 3.174603) = 0.385821, e^(0.555556 - 3.174603) =
// 0.072872.
TEST(Sampler, WorkedExample) {
  SamplingOptions options{
      .temperature = 0.9f, .top_k = 3, .repetition_penalty = 1.05f, .suppress = {5}};
  const Ids history = {3, 1};
  auto kept = Sampler(options).filter(kLogits, history);
  ASSERT_EQ(ids_of(kept), (Ids{3, 0, 2}));
  EXPECT_NEAR(kept[0].value, 0.685545, 2e-6);
  EXPECT_NEAR(kept[1].value, 0.264498, 2e-6);
  EXPECT_NEAR(kept[2].value, 0.049957, 2e-6);

  options.top_p = 0.8f;
  kept = Sampler(options).filter(kLogits, history);
  ASSERT_EQ(ids_of(kept), (Ids{3, 0}));
  EXPECT_NEAR(kept[0].value, 0.721594, 2e-6);
  EXPECT_NEAR(kept[1].value, 0.278406, 2e-6);
}

TEST(Sampler, PenaltyCountsAnIdOnceAndPushesBothSignsDown) {
  const Sampler sampler(SamplingOptions{.repetition_penalty = 2.0f});
  const auto once = sampler.penalised(kLogits, Ids{3, 1});
  const auto often = sampler.penalised(kLogits, Ids{3, 1, 3, 3, 1});
  EXPECT_EQ(once[3].value, 1.5f);
  EXPECT_EQ(once[1].value, -2.0f);
  EXPECT_EQ(once[0].value, 2.0f);
  for (size_t i = 0; i < kLogits.size(); ++i) {
    EXPECT_EQ(often[i].value, once[i].value) << i;
  }
  // An id that the row does not have, as of a larger embedding, is passed over.
  EXPECT_EQ(sampler.penalised(kLogits, Ids{600})[0].value, 2.0f);
}

TEST(Sampler, GreedyTakesTheFirstOfEquals) {
  Sampler sampler(SamplingOptions{});
  EXPECT_EQ(sampler.pick(std::vector<float>{1, 5, 5, 5, 2}, {}), 1u);
  EXPECT_EQ(sampler.pick(std::vector<Candidate>{{7, 2.0f}, {4, 2.0f}, {5, 1.0f}}), 4u);
  Sampler without(SamplingOptions{.suppress = {1}});
  EXPECT_EQ(without.pick(std::vector<float>{1, 5, 5, 5, 2}, {}), 2u);
}

TEST(Sampler, TopKKeepsTheLowerIdsOfEquals) {
  const Sampler sampler(SamplingOptions{.temperature = 1.0f, .top_k = 2});
  EXPECT_EQ(ids_of(sampler.filter(std::vector<float>{1, 1, 1, 1}, {})), (Ids{0, 1}));
}

// Probabilities 1/2, 1/4, 1/8, 1/8.
TEST(Sampler, TopPKeepsTheFewestThatReachIt) {
  const std::vector<float> logits = {std::log(4.0f), std::log(2.0f), 0.0f, 0.0f};
  const auto kept = [&](float p) {
    return Sampler(SamplingOptions{.temperature = 1.0f, .top_p = p}).filter(logits, {}).size();
  };
  EXPECT_EQ(kept(0.01f), 1u);
  EXPECT_EQ(kept(0.49f), 1u);
  EXPECT_EQ(kept(0.51f), 2u);
  EXPECT_EQ(kept(0.74f), 2u);
  EXPECT_EQ(kept(0.80f), 3u);
  EXPECT_EQ(kept(0.95f), 4u);
  EXPECT_EQ(kept(1.0f), 4u);
}

TEST(Sampler, MinPIsRelativeToTheBest) {
  const std::vector<float> logits = {std::log(4.0f), std::log(2.0f), 0.0f, 0.0f};
  const auto kept = [&](float p) {
    return Sampler(SamplingOptions{.temperature = 1.0f, .min_p = p}).filter(logits, {}).size();
  };
  EXPECT_EQ(kept(0.2f), 4u);
  EXPECT_EQ(kept(0.3f), 2u);
  EXPECT_EQ(kept(0.6f), 1u);
  EXPECT_EQ(kept(1.0f), 1u);
}

TEST(Sampler, DrawsWithTheProbabilitiesAndRepeatsForASeed) {
  const std::vector<float> logits = {std::log(6.0f), std::log(3.0f), 0.0f};
  const auto draw = [&](uint64_t seed) {
    Sampler sampler(SamplingOptions{.temperature = 1.0f, .seed = seed});
    Ids ids;
    for (int i = 0; i < 5000; ++i) {
      ids.push_back(sampler.pick(logits, {}));
    }
    return ids;
  };
  const Ids first = draw(7);
  EXPECT_EQ(first, draw(7));
  EXPECT_NE(first, draw(8));
  const double expected[] = {0.6, 0.3, 0.1};
  for (uint32_t id = 0; id < 3; ++id) {
    // Four standard deviations of 5,000 draws are at most 0.028.
    EXPECT_NEAR(static_cast<double>(std::ranges::count(first, id)) / 5000.0, expected[id], 0.028);
  }
}

TEST(Sampler, TinyTemperatureIsAlmostGreedy) {
  Sampler sampler(SamplingOptions{.temperature = 1e-38f});
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(sampler.pick(std::vector<float>{-90, 90, 80}, {}), 1u);
  }
}

TEST(Sampler, NonFiniteLogitIsAnErrorThatNamesTheToken) {
  Sampler sampler(SamplingOptions{.temperature = 1.0f});
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    try {
      sampler.pick(std::vector<float>{1, bad, 2}, {});
      FAIL() << "drew from " << bad;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::Internal);
      EXPECT_NE(std::string(error.what()).find("token 1"), std::string::npos) << error.what();
    }
  }
}

TEST(Sampler, EverythingSuppressedIsAnError) {
  Sampler sampler(SamplingOptions{.suppress = {0, 1}});
  EXPECT_THROW(sampler.pick(std::vector<float>{1, 2}, {}), Error);
}

TEST(Sampler, OptionsOutOfRangeNameTheOption) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::pair<SamplingOptions, const char*> cases[] = {
      {{.temperature = -0.1f}, "--temp"},
      {{.temperature = nan}, "--temp"},
      {{.temperature = 101.0f}, "--temp"},
      {{.top_k = -1}, "--top-k"},
      {{.top_p = 0.0f}, "--top-p"},
      {{.top_p = 1.1f}, "--top-p"},
      {{.top_p = nan}, "--top-p"},
      {{.min_p = -0.1f}, "--min-p"},
      {{.min_p = 2.0f}, "--min-p"},
      {{.repetition_penalty = 0.0f}, "--repeat-penalty"},
      {{.repetition_penalty = nan}, "--repeat-penalty"},
  };
  for (const auto& [options, name] : cases) {
    try {
      const Sampler sampler(options);
      ADD_FAILURE() << name << " was accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::InvalidArgument);
      EXPECT_TRUE(std::string(error.what()).starts_with(name)) << error.what();
    }
  }
}

}  // namespace
}  // namespace candela::nn
