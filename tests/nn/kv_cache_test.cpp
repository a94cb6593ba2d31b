#include "nn/kv_cache.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "backend/op_args.h"
#include "base/error.h"
#include "nn/rotary.h"
#include "nn/step.h"
#include "tensor/ops.h"

namespace candela::nn {
namespace {

using Ids = std::vector<uint32_t>;

KvCache make_cache(int64_t max_positions, DType dtype = DType::F32) {
  return KvCache(
      {.layers = 2, .kv_heads = 3, .head_dim = 4, .dtype = dtype, .max_positions = max_positions},
      Device::cpu(1));
}

TEST(KvCache, TakesPagesByNeed) {
  KvCache cache = make_cache(0);
  EXPECT_EQ(cache.capacity(), 0);
  KvSequence sequence;
  cache.reserve(sequence, 1);
  EXPECT_EQ(sequence.pages, (Ids{0}));
  cache.reserve(sequence, 64);
  EXPECT_EQ(sequence.pages.size(), 1u);
  cache.reserve(sequence, 65);
  EXPECT_EQ(sequence.pages, (Ids{0, 1}));
  EXPECT_EQ(sequence.length, 0) << "reserve does not advance";
  cache.reserve(sequence, 3);
  EXPECT_EQ(sequence.pages.size(), 2u) << "reserve never takes pages away";
}

TEST(KvCache, ReusesReleasedPages) {
  KvCache cache = make_cache(0);
  KvSequence a, b, c;
  cache.reserve(a, 128);
  cache.reserve(b, 128);
  const int64_t capacity = cache.capacity();
  EXPECT_EQ(capacity, 256);
  a.length = 100;
  cache.release(a);
  EXPECT_TRUE(a.pages.empty());
  EXPECT_EQ(a.length, 0);
  cache.reserve(c, 120);
  EXPECT_EQ(c.pages, (Ids{0, 1}));
  EXPECT_EQ(cache.capacity(), capacity);
  cache.reserve(a, 1);
  EXPECT_EQ(cache.capacity(), 2 * capacity) << "the pool doubles when it is full";
  for (const uint32_t page : a.pages) {
    EXPECT_EQ(std::ranges::count(b.pages, page) + std::ranges::count(c.pages, page), 0);
  }
}

TEST(KvCache, GrowthKeepsWhatIsStored) {
  KvCache cache = make_cache(0);
  KvSequence sequence;
  cache.reserve(sequence, 200);
  const int64_t count = cache.keys(1).elements();
  ASSERT_EQ(count, 4 * 3 * 64 * 4);
  std::vector<float> numbers(static_cast<size_t>(count));
  std::iota(numbers.begin(), numbers.end(), 1.0f);
  cache.keys(1).copy_from(
      Tensor::from_vector(numbers, cache.keys(1).shape(), cache.keys(1).device()));
  cache.values(0).fill(7.0);
  cache.reserve(sequence, 300);
  ASSERT_EQ(cache.keys(1).shape(), (Shape{8, 3, 64, 4}));
  EXPECT_EQ(cache.keys(1).narrow(0, 0, 4).contiguous().to_vec<float>(), numbers);
  EXPECT_EQ(cache.values(0).narrow(0, 0, 4).contiguous().to_vec<float>(),
            std::vector<float>(numbers.size(), 7.0f));
}

TEST(KvCache, GrowthKeepsBlocks) {
  KvCache cache({.layers = 1, .kv_heads = 2, .head_dim = 64, .dtype = DType::Q8_16},
                Device::cpu(1));
  EXPECT_EQ(cache.bytes_per_position(), 2 * 2 * 2 * 36);
  KvSequence sequence;
  cache.reserve(sequence, 200);
  const Device device = cache.keys(0).device();
  kv_write(cache.keys(0), Tensor::from_vector(std::vector<uint32_t>{3, 70}, {2}, device),
           Tensor::arange(0, 256, 1, DType::F32, device).reshape({2, 2, 64}));
  const auto bytes = cache.keys(0).to_bytes();
  cache.reserve(sequence, 300);
  auto grown = cache.keys(0).to_bytes();
  ASSERT_GT(grown.size(), bytes.size());
  grown.resize(bytes.size());
  // Memory that was never written is anything, but it is copied as well.
  EXPECT_EQ(grown, bytes);
}

KvCache make_q8_cache(const Device& device) {
  return KvCache({.layers = 1, .kv_heads = 2, .head_dim = 32, .dtype = DType::Q8_16}, device);
}

TEST(KvCache, NewestPagesOfBlocksAreKeptInF16) {
  constexpr uint32_t kFlag = RecentPages::kFlag;
  KvCache cache = make_q8_cache(Device::cpu(1));
  KvSequence a, b;
  cache.reserve(a, 300);
  EXPECT_EQ(a.pages, (Ids{0, 1, 2, 3, 4}));
  EXPECT_EQ(a.recent, (Ids{0, 1, 2, 3, 4})) << "a forward pass sees all that it writes";
  a.length = 300;
  cache.reserve(a, 321);  // a sixth page
  EXPECT_EQ(a.recent.size(), 3u) << "position 300 is on page 4";
  const uint32_t newest = a.recent[2];
  EXPECT_LT(newest, 3u) << "one that a no longer needed";
  EXPECT_EQ(KvCache::page_table(a), (Ids{0, 1, 2, kFlag | 3, kFlag | 4, kFlag | newest}));
  EXPECT_EQ(KvCache::recent_slot_of(a, 300), 4 * 64 + 44);
  EXPECT_EQ(KvCache::recent_slot_of(a, 320), int64_t{newest} * 64);
  cache.reserve(b, 128);
  for (const uint32_t page : b.recent) {
    EXPECT_EQ(std::ranges::count(a.recent, page), 0);
  }
  EXPECT_EQ(cache.recent(0)->k.shape(), (Shape{5, 2, 64, 32}));
  cache.release(a);
  EXPECT_TRUE(a.recent.empty());
  KvSequence c;
  cache.reserve(c, 192);
  EXPECT_EQ(cache.recent(0)->k.dim(0), 5) << "released pages are used again";
}

TEST(KvCache, GrowthKeepsRecentPages) {
  KvCache cache = make_q8_cache(Device::cpu(1));
  KvSequence a, b;
  cache.reserve(a, 64);
  const Device device = cache.keys(0).device();
  const auto write = [&](const Tensor& pages, uint32_t slot) {
    kv_write(pages, Tensor::from_vector(std::vector<uint32_t>{slot}, {1}, device),
             Tensor::arange(0, 64, 1, DType::F32, device).reshape({1, 2, 32}));
  };
  write(cache.keys(0), 3);
  write(cache.recent(0)->k, 5);
  write(cache.recent(0)->v, 6);
  const auto rows = [&] {
    const RecentTensors recent = *cache.recent(0);
    std::vector<std::vector<float>> out;
    for (const auto& [pages, slot] :
         {std::pair{&cache.keys(0), 3}, std::pair{&recent.k, 5}, std::pair{&recent.v, 6}}) {
      out.push_back(
          pages->to_dtype(DType::F32).get(0).narrow(1, slot, 1).contiguous().to_vec<float>());
    }
    return out;
  };
  const auto before = rows();
  EXPECT_EQ(before[1][33], 33.0f);
  cache.reserve(b, 700);
  EXPECT_EQ(rows(), before);
}

TEST(KvCache, BlocksNeedWholeHeads) {
  EXPECT_THROW(
      KvCache({.layers = 1, .kv_heads = 1, .head_dim = 48, .dtype = DType::Q8_16}, Device::cpu(1)),
      Error);
}

TEST(KvCache, LimitIsAnErrorThatNamesLengthAndLimit) {
  KvCache cache = make_cache(100);  // two pages
  KvSequence a, b;
  cache.reserve(a, 128);
  EXPECT_EQ(cache.capacity(), 128);
  try {
    cache.reserve(b, 1);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::OutOfMemory);
    const std::string text = error.what();
    EXPECT_NE(text.find("192 positions"), std::string::npos) << text;
    EXPECT_NE(text.find("limit is 100"), std::string::npos) << text;
    EXPECT_NE(text.find("--ctx-size"), std::string::npos) << text;
  }
  cache.release(a);
  cache.reserve(b, 128);  // what failed left nothing behind
  EXPECT_EQ(b.pages.size(), 2u);
}

TEST(KvCache, BytesAndDtypes) {
  EXPECT_EQ(make_cache(0).bytes_per_position(), 2 * 2 * 3 * 4 * 4);
  EXPECT_EQ(make_cache(0, DType::BF16).bytes_per_position(), 2 * 2 * 3 * 4 * 2);
  EXPECT_THROW(make_cache(0, DType::F16), Error);
  EXPECT_THROW(make_cache(0, DType::Q8_16), Error);
}

TEST(Step, NamesRecentPages) {
  KvCache cache = make_q8_cache(Device::cpu(1));
  KvSequence a, b;
  cache.reserve(a, 200);
  a.length = 200;
  const Ids ids = {5, 6};
  const StepRow rows[] = {{&a, ids, false}, {&b, ids, false}};
  const Step step = Step::pack(rows, cache, Device::cpu(1));
  constexpr uint32_t kFlag = RecentPages::kFlag;
  // Of a's recent pages 0 to 3 the last two are kept; b takes one of the others.
  EXPECT_EQ(step.pages.to_vec<uint32_t>(),
            (Ids{0, 1, kFlag | 2, kFlag | 3, kFlag | b.recent[0], 0, 0, 0}));
  EXPECT_LT(b.recent[0], 2u);
  EXPECT_EQ(step.recent_slots.to_vec<uint32_t>(),
            (Ids{3 * 64 + 8, 3 * 64 + 9, b.recent[0] * 64, b.recent[0] * 64 + 1}));
  EXPECT_EQ(step.slots.to_vec<uint32_t>(), (Ids{3 * 64 + 8, 3 * 64 + 9, 4 * 64, 4 * 64 + 1}));
}

TEST(Step, PacksRaggedRowsWithoutPadding) {
  KvCache cache = make_cache(0);
  KvSequence a, b, c;
  cache.reserve(a, 63);
  a.length = 63;
  cache.reserve(b, 10);
  b.length = 10;
  const Ids ids_a = {5, 6, 7}, ids_b = {8}, ids_c = {9, 4};
  const StepRow rows[] = {{&a, ids_a, false}, {&b, ids_b, false}, {&c, ids_c, true}};
  const Step step = Step::pack(rows, cache, Device::cpu(1));

  EXPECT_EQ(step.tokens, 6);
  EXPECT_EQ(step.max_span, 66);
  EXPECT_FALSE(step.every_row);
  EXPECT_EQ(step.ids.to_vec<uint32_t>(), (Ids{5, 6, 7, 8, 9, 4}));
  EXPECT_EQ(step.positions.to_vec<uint32_t>(), (Ids{63, 64, 65, 10, 0, 1}));
  // a has pages 0 and 2 (b took 1 before), c has page 3.
  EXPECT_EQ(step.slots.to_vec<uint32_t>(), (Ids{63, 128, 129, 74, 192, 193}));
  EXPECT_EQ(step.spans.to_vec<uint32_t>(),
            (Ids{0, 64, 0, 0, 65, 0, 0, 66, 0, 0, 11, 1, 0, 1, 2, 0, 2, 2}));
  EXPECT_EQ(step.pages.shape(), (Shape{3, 2}));
  EXPECT_EQ(step.pages.to_vec<uint32_t>(), (Ids{0, 2, 1, 0, 3, 0}));
  EXPECT_EQ(step.logit_rows.to_vec<uint32_t>(), (Ids{2, 3, 4, 5}));
  EXPECT_EQ(a.length, 63) << "pack advances no sequence";

  const StepRow singles[] = {{&a, ids_b, false}, {&b, ids_b, false}};
  EXPECT_TRUE(Step::pack(singles, cache, Device::cpu(1)).every_row);
}

// Angles of theta 1e6 and 128 dimensions: f_1 = 10^(-6/64) = 0.80584219, f_32 = 1e-3, ...
TEST(Rotary, TableHoldsTheFrequenciesOfTheThinker) {
  Rotary rotary(128, 1e6, Device::cpu(1));
  rotary.reserve(20);
  ASSERT_EQ(rotary.cos().dim(1), 64);
  const auto cosines = rotary.cos().to_vec<float>();
  const auto sines = rotary.sin().to_vec<float>();
  const auto angle = [&](size_t position, size_t i) {
    return std::atan2(sines[position * 64 + i], cosines[position * 64 + i]);
  };
  const std::pair<size_t, double> frequencies[] = {
      {0, 1.0},   {1, 0.80584219},  {2, 0.64938163},  {3, 0.52329911}, {31, 1.24093776e-3},
      {32, 1e-3}, {57, 4.53158e-6}, {60, 2.37137e-6}, {63, 1.24094e-6}};
  for (const auto& [i, frequency] : frequencies) {
    EXPECT_NEAR(angle(1, i), frequency, 2e-6 * frequency + 6e-8) << i;
  }
  EXPECT_NEAR(sines[10 * 64 + 0], std::sin(10.0), 1e-6);
  EXPECT_NEAR(cosines[12 * 64 + 1], std::cos(9.67010625), 1e-6);
  EXPECT_NEAR(sines[15 * 64 + 2], std::sin(9.74072447), 1e-6);
  EXPECT_NEAR(sines[10 * 64 + 60], 2.37137e-5, 1e-9);
}

TEST(Rotary, GrowsAndKeepsItsRows) {
  Rotary rotary(8, 10000.0, Device::cpu(1));
  rotary.reserve(1);
  const int64_t first = rotary.cos().dim(0);
  const auto before = rotary.sin().to_vec<float>();
  rotary.reserve(first);
  EXPECT_EQ(rotary.cos().dim(0), first);
  rotary.reserve(first + 1);
  EXPECT_GE(rotary.cos().dim(0), 2 * first);
  auto after = rotary.sin().to_vec<float>();
  after.resize(before.size());
  EXPECT_EQ(after, before);
  EXPECT_EQ(before[0], 0.0f);
  EXPECT_NEAR(before[4 * 3 + 1], std::sin(0.3), 1e-7);  // position 3, frequency 10^-1
}

}  // namespace
}  // namespace candela::nn
