// The fast class of the CPU: BF16 activations where the processor multiplies them; and attention
// cut into parts for many threads.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backend/cpu/simd.h"
#include "backend/cpu_support.h"

namespace candela {
namespace {

using test::Cpu;
using test::random_floats;
using Floats = std::vector<float>;

double nmse(const Floats& got, const Floats& expected) {
  double error = 0.0;
  double size = 0.0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double difference = static_cast<double>(got[i]) - static_cast<double>(expected[i]);
    error += difference * difference;
    size += static_cast<double>(expected[i]) * static_cast<double>(expected[i]);
  }
  return error / size;
}

/// Activations as they are in deep layers: a few channels a hundred times the rest.
Floats with_outliers(int64_t count, uint32_t seed) {
  Floats out = random_floats(count, seed);
  for (size_t i = 5; i < out.size(); i += 97) {
    out[i] *= 100.0f;
  }
  return out;
}

bool has_bf16_products() {
  return cpu::simd().dots_bf16[1] != nullptr;
}

/// Who multiplies in the fast class. A processor without AVX-512 has no oneDNN in BF16, and is told
/// so.
std::vector<std::string> multipliers() {
  const std::string refusal =
      test::error_of(ErrorKind::Unavailable, [] { Cpu(1, Precision::Fast, "on"); });
  if (refusal == "nothing was thrown") {
    return {"off", "on"};
  }
  EXPECT_THAT(refusal, testing::HasSubstr("oneDNN has no BF16 products on this processor"));
  return {"off"};
}

/// What the two classes make of the same op, the fast one by own loops and by oneDNN.
template <typename Run>
void compare(int64_t rows, const Run& run) {
  const Cpu exact(2, Precision::Exact);
  const Floats expected = run(exact);
  for (const std::string& onednn : multipliers()) {
    const Cpu fast(2, Precision::Fast, onednn);
    const Floats got = run(fast);
    if (rows < 8 || (onednn == "off" && !has_bf16_products())) {
      EXPECT_EQ(got, expected) << rows << " rows, oneDNN " << onednn;
    } else {
      EXPECT_LE(nmse(got, expected), 1e-4) << rows << " rows, oneDNN " << onednn;
      EXPECT_NE(got, expected) << "the fast products did not run, oneDNN " << onednn;
    }
  }
}

TEST(CpuPrecision, FastLinearStaysNearExact) {
  for (const int64_t rows : {1, 7, 8, 13, 50}) {
    compare(rows, [&](const Cpu& cpu) {
      LinearArgs args;
      args.x = cpu.floats(with_outliers(rows * 333, 1), {rows, 333});
      args.weight = cpu.floats(random_floats(71 * 333, 2, 0.05f), {71, 333}, DType::BF16);
      args.residual = cpu.floats(random_floats(rows * 71, 3), {rows, 71});
      const View y = cpu.empty({rows, 71});
      cpu->linear(args, y);
      return cpu.read(y);
    });
  }
}

// More rows and weights than a block of oneDNN holds, a last one of one row and one weight, weights
// with gaps and outputs in columns.
TEST(CpuPrecision, FastLinearTakesBlocksAndStrides) {
  compare(257, [&](const Cpu& cpu) {
    LinearArgs args;
    args.x = cpu.floats(with_outliers(257 * 70, 1), {257, 70});
    const View wide = cpu.floats(random_floats(193 * 96, 2, 0.05f), {193, 96}, DType::BF16);
    args.weight = {wide.storage, wide.layout.narrow(1, 7, 70), wide.dtype};
    const View y = cpu.empty({193, 257});
    cpu->linear(args, {y.storage, y.layout.transpose(0, 1), y.dtype});
    return cpu.read(y);
  });
}

/// Owns nothing: the test's own numbers outlive what reads them.
class TestMemory final : public HostMemory {
 public:
  void read(HostPiece from, std::byte* to) const override { std::ranges::copy(from, to); }
  bool has_whole_pages() const override { return false; }
};

TEST(CpuPrecision, FastLinearReadsWeightsInPieces) {
  const Floats values = random_floats(80 * 64, 2, 0.05f);
  std::vector<BFloat16> weights;
  for (const float value : values) {
    weights.push_back(to_bf16(value));
  }
  const std::vector<BFloat16> head(weights.begin(), weights.begin() + 37 * 64);
  const std::vector<BFloat16> tail(weights.begin() + 37 * 64, weights.end());
  compare(20, [&](const Cpu& cpu) {
    const HostPiece pieces[] = {std::as_bytes(std::span(head)), std::as_bytes(std::span(tail))};
    LinearArgs args;
    args.x = cpu.floats(with_outliers(20 * 64, 1), {20, 64});
    args.weight = {cpu->import_host(pieces, std::make_shared<TestMemory>(), 128, 2, "w").storage,
                   Layout(Shape{80, 64}), DType::BF16};
    const View y = cpu.empty({20, 80});
    cpu->linear(args, y);
    return cpu.read(y);
  });
}

// Products of small whole numbers are exact in BF16, so both have to give the very sums.
TEST(CpuPrecision, FastOfWholeNumbersIsExact) {
  for (const std::string& onednn : multipliers()) {
    const Cpu cpu(2, Precision::Fast, onednn);
    Floats x;
    Floats w;
    for (int i = 0; i < 9 * 40; ++i) {
      x.push_back(static_cast<float>(i % 7 - 3));
    }
    for (int i = 0; i < 66 * 40; ++i) {
      w.push_back(static_cast<float>(i % 5 - 2));
    }
    LinearArgs args;
    args.x = cpu.floats(x, {9, 40});
    args.weight = cpu.floats(w, {66, 40}, DType::BF16);
    const View y = cpu.empty({9, 66});
    cpu->linear(args, y);
    const Floats got = cpu.read(y);
    for (size_t row = 0; row < 9; ++row) {
      for (size_t o = 0; o < 66; ++o) {
        float sum = 0.0f;
        for (size_t i = 0; i < 40; ++i) {
          sum += x[row * 40 + i] * w[o * 40 + i];
        }
        EXPECT_EQ(got[row * 66 + o], sum) << row << ", " << o << ", oneDNN " << onednn;
      }
    }
  }
}

TEST(CpuPrecision, OneDnnThatCannotBeUsedIsAClearError) {
  const auto error = [](const std::string& path) {
    return test::error_of(ErrorKind::Unavailable, [&] { Cpu(1, Precision::Fast, path); });
  };
  EXPECT_THAT(error("/nowhere/libdnnl.so.3"),
              testing::AllOf(testing::HasSubstr("oneDNN at /nowhere/libdnnl.so.3 cannot be opened"),
                             testing::HasSubstr("Run scripts/setup")));
  EXPECT_THAT(error("libm.so.6"), testing::HasSubstr("libm.so.6 lacks the function dnnl_version"));
  Cpu(1, Precision::Exact, "/nowhere/libdnnl.so.3");  // is not opened where nothing is rounded
}

TEST(CpuPrecision, FastExpertsStayNearExact) {
  for (const int64_t tokens : {1, 8, 29}) {
    compare(tokens, [&](const Cpu& cpu) {
      std::vector<uint32_t> chosen;
      for (uint32_t t = 0; t < static_cast<uint32_t>(tokens); ++t) {
        chosen.insert(chosen.end(), {t % 3, 3 + t % 2});
      }
      MoeArgs args;
      args.x = cpu.floats(with_outliers(tokens * 96, 1), {tokens, 96});
      args.experts = cpu.ids(chosen, {tokens, 2});
      args.weights = cpu.floats(random_floats(tokens * 2, 2), {tokens, 2});
      args.gate = cpu.floats(random_floats(5 * 41 * 96, 3, 0.1f), {5, 41, 96}, DType::BF16);
      args.up = cpu.floats(random_floats(5 * 41 * 96, 4, 0.1f), {5, 41, 96}, DType::BF16);
      args.down = cpu.floats(random_floats(5 * 96 * 41, 5, 0.1f), {5, 96, 41}, DType::BF16);
      const View y = cpu.empty({tokens, 96});
      cpu->moe(args, y);
      return cpu.read(y);
    });
  }
}

TEST(CpuPrecision, FastIsExactForOtherWeights) {
  compare(1, [&](const Cpu& cpu) {
    LinearArgs args;
    args.x = cpu.floats(random_floats(16 * 64, 1), {16, 64});
    args.weight = cpu.raw(test::random_blocks(DType::Q8_0, 30 * 64, 2), {30, 64}, DType::Q8_0);
    const View y = cpu.empty({16, 30});
    cpu->linear(args, y);
    return cpu.read(y);
  });
}

TEST(CpuPrecision, FastIsExactWhereErrorsWeighMuch) {
  const auto run = [](Precision precision) {
    const Cpu cpu(2, precision);
    LinearArgs args;
    args.x = cpu.floats(random_floats(16 * 64, 1), {16, 64});
    args.weight = cpu.floats(random_floats(30 * 64, 2), {30, 64}, DType::BF16);
    args.sensitive = true;
    const View y = cpu.empty({16, 30});
    cpu->linear(args, y);
    return cpu.read(y);
  };
  EXPECT_EQ(run(Precision::Fast), run(Precision::Exact));
}

TEST(CpuPrecision, AttentionInPartsIsAttention) {
  const auto run = [](const Cpu& cpu, int64_t tokens, DType y_type) {
    AttentionArgs args;
    args.q = cpu.floats(random_floats(tokens * 4 * 24, 1), {tokens, 4, 24});
    args.k_cache = cpu.floats(random_floats(16 * 2 * 128 * 24, 2), {16, 2, 128, 24}, DType::BF16);
    args.v_cache = cpu.floats(random_floats(16 * 2 * 128 * 24, 3), {16, 2, 128, 24}, DType::BF16);
    std::vector<uint32_t> spans, pages;
    for (uint32_t t = 0; t < static_cast<uint32_t>(tokens); ++t) {
      spans.insert(spans.end(), {3 * t, t == 1 ? 3 : 1900 + t, 0});
    }
    for (uint32_t page = 0; page < 16; ++page) {
      pages.push_back(page * 7 % 16);
    }
    args.spans = cpu.ids(spans, {tokens, 3});
    args.pages = cpu.ids(pages, {1, 16});
    args.scale = 0.8f;
    const View y = cpu.empty({tokens, 4, 24}, y_type);
    cpu->attention(args, y);
    return cpu.read(y);
  };
  const Cpu whole(1, Precision::Exact);
  const Cpu parts(13, Precision::Exact);
  for (const int64_t tokens : {1, 2, 3}) {
    const Floats expected = run(whole, tokens, DType::F32);
    EXPECT_LE(test::distance(run(parts, tokens, DType::F32), expected), 1e-6) << tokens;
    EXPECT_LE(test::distance(run(parts, tokens, DType::BF16), expected), 5e-3) << tokens;
  }
}

}  // namespace
}  // namespace candela
