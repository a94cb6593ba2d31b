// Each fused op three times: the override of the CPU, the default body, and values by hand.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "backend/cpu_support.h"

namespace candela {
namespace {

using test::Cpu;
using test::distance;
using test::error_of;
using test::random_floats;
using testing::ElementsAre;
using testing::HasSubstr;
using Floats = std::vector<float>;

constexpr float kMasked = -std::numeric_limits<float>::infinity();

View turned(const View& view, int a, int b) {
  return {view.storage, view.layout.transpose(a, b), view.dtype};
}

TEST(CpuFused, SoftmaxMasksAndZeroRows) {
  const Cpu cpu;
  const View x =
      cpu.floats({0, std::log(3.0f), kMasked, kMasked, kMasked, kMasked, 3e38f, -3e38f, 0}, {3, 3});
  const View y = cpu.empty({3, 3});
  const Floats expected = {0.25f, 0.75f, 0, 0, 0, 0, 1, 0, 0};
  cpu->softmax(x, y);
  EXPECT_LE(distance(cpu.read(y), expected), 1e-6);
  cpu->Backend::softmax(x, y);
  EXPECT_LE(distance(cpu.read(y), expected), 1e-6);
  const View part{x.storage, x.layout.narrow(0, 0, 2), x.dtype};
  const View logs = cpu.empty({2, 3});
  const Floats log_expected = {std::log(0.25f), std::log(0.75f), kMasked, 0, 0, 0};
  cpu->log_softmax(part, logs);
  EXPECT_LE(distance(cpu.read(logs), log_expected), 1e-6);
  cpu->Backend::log_softmax(part, logs);
  EXPECT_LE(distance(cpu.read(logs), log_expected), 1e-6);
}

TEST(CpuFused, NormsByHandAndByDefault) {
  const Cpu cpu;
  const View y = cpu.empty({1, 2});
  cpu->rms_norm(cpu.floats({3, 4}, {1, 2}), cpu.floats({1, 2}, {2}, DType::BF16), 0.0f, y);
  const float rms = std::sqrt(12.5f);
  EXPECT_LE(distance(cpu.read(y), {3 / rms, 8 / rms}), 1e-6);
  cpu->layer_norm(cpu.floats({1, 3}, {1, 2}), cpu.floats({1, 2}, {2}), cpu.floats({0, 10}, {2}),
                  0.0f, y);
  EXPECT_LE(distance(cpu.read(y), {-1, 12}), 1e-6);
  // A transposed input, many rows.
  const View x = turned(cpu.floats(random_floats(96 * 33, 1), {96, 33}), 0, 1);
  const View w = cpu.floats(random_floats(96, 2), {96}, DType::BF16);
  const View b = cpu.floats(random_floats(96, 3), {96});
  const View one = cpu.empty({33, 96}), two = cpu.empty({33, 96});
  cpu->rms_norm(x, w, 1e-6f, one);
  cpu->Backend::rms_norm(x, w, 1e-6f, two);
  EXPECT_LE(distance(cpu.read(one), cpu.read(two)), 1e-6);
  cpu->layer_norm(x, w, b, 1e-5f, one);
  cpu->Backend::layer_norm(x, w, b, 1e-5f, two);
  EXPECT_LE(distance(cpu.read(one), cpu.read(two)), 2e-6);
}

TEST(CpuFused, RopeBothPairings) {
  const Cpu cpu;
  RopeArgs args;
  args.x = cpu.floats({1, 2, 3, 4}, {1, 1, 4});
  args.cos = cpu.floats({9, 9, 0, 1}, {2, 2});
  args.sin = cpu.floats({9, 9, 1, 0}, {2, 2});
  args.positions = cpu.ids({1}, {1});
  const View y = cpu.empty({1, 1, 4});
  cpu->rope(args, y);  // pairs (1, 3) by 90 degrees, (2, 4) by none
  EXPECT_EQ(cpu.read(y), (Floats{-3, 2, 1, 4}));
  args.interleaved = true;
  cpu->rope(args, y);
  EXPECT_EQ(cpu.read(y), (Floats{-2, 1, 3, 4}));
  args.positions = cpu.ids({2}, {1});
  EXPECT_THAT(error_of(ErrorKind::InvalidArgument, [&] { cpu->rope(args, y); }),
              HasSubstr("rope: the index 2"));
  // Heads before tokens in memory, with the norm, against the default body.
  args.x = turned(cpu.floats(random_floats(5 * 7 * 24, 5), {5, 7, 24}), 0, 1);
  args.cos = cpu.floats(random_floats(20 * 12, 6), {20, 12});
  args.sin = cpu.floats(random_floats(20 * 12, 7), {20, 12});
  args.positions = cpu.ids({3, 0, 19, 4, 4, 8, 1}, {7});
  args.norm_weight = cpu.floats(random_floats(24, 8), {24}, DType::BF16);
  args.norm_eps = 1e-6f;
  for (const bool interleaved : {false, true}) {
    args.interleaved = interleaved;
    const View one = cpu.empty({7, 5, 24}), two = cpu.empty({7, 5, 24});
    cpu->rope(args, one);
    cpu->Backend::rope(args, two);
    EXPECT_LE(distance(cpu.read(one), cpu.read(two)), 1e-6);
  }
}

TEST(CpuFused, SwigluAndSnake) {
  const Cpu cpu;
  const View gate = turned(cpu.floats(random_floats(700, 1, 5.0f), {35, 20}), 0, 1);
  const View up = cpu.floats(random_floats(700, 2), {20, 35}, DType::BF16);
  const View one = cpu.empty({20, 35}), two = cpu.empty({20, 35});
  cpu->swiglu(gate, up, one);
  cpu->Backend::swiglu(gate, up, two);
  EXPECT_LE(distance(cpu.read(one), cpu.read(two)), 1e-6);
  const View y = cpu.empty({1, 1, 1});
  cpu->snake_beta(cpu.floats({2}, {1, 1, 1}), cpu.floats({0.5f}, {1}), cpu.floats({-1}, {1}), y);
  const double wave = std::sin(2 * std::exp(0.5));
  EXPECT_NEAR(cpu.read(y)[0], 2 + wave * wave / std::exp(-1.0), 1e-6);
  const View x = cpu.floats(random_floats(60, 3), {2, 3, 10});
  const View a = cpu.floats({0.1f, -0.2f, 0.3f}, {3}), b = cpu.floats({0, 0.5f, -0.5f}, {3});
  const View s1 = cpu.empty({2, 3, 10}), s2 = cpu.empty({2, 3, 10});
  cpu->snake_beta(x, a, b, s1);
  cpu->Backend::snake_beta(x, a, b, s2);
  EXPECT_LE(distance(cpu.read(s1), cpu.read(s2)), 1e-6);
}

/// x W^T + bias + residual in double from the elements that copy gives.
Floats linear_reference(const Cpu& cpu, const LinearArgs& args) {
  const View wide = cpu.empty(args.weight.shape());
  cpu->copy(args.weight, wide);
  const Floats x = cpu.read(args.x), w = cpu.read(wide);
  const int64_t rows = args.x.dim(0), in = args.x.dim(1), out = args.weight.dim(0);
  Floats y;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t o = 0; o < out; ++o) {
      double sum = 0.0;
      for (int64_t k = 0; k < in; ++k) {
        sum += static_cast<double>(x[static_cast<size_t>(r * in + k)]) *
               static_cast<double>(w[static_cast<size_t>(o * in + k)]);
      }
      sum += args.bias ? static_cast<double>(cpu.read(*args.bias)[static_cast<size_t>(o)]) : 0.0;
      sum += args.residual
                 ? static_cast<double>(cpu.read(*args.residual)[static_cast<size_t>(r * out + o)])
                 : 0.0;
      y.push_back(static_cast<float>(sum));
    }
  }
  return y;
}

View weight_of(const Cpu& cpu, DType dtype, const Shape& shape, uint32_t seed) {
  if (is_quantized(dtype)) {
    return cpu.raw(test::random_blocks(dtype, shape.elements(), seed), shape, dtype);
  }
  return cpu.floats(random_floats(shape.elements(), seed, 0.3f), shape, dtype);
}

/// The same bytes in three borrowed pieces, cut between rows.
View in_pieces(const Cpu& cpu, const View& view, std::vector<std::vector<std::byte>>& keep) {
  const auto row = static_cast<size_t>(dtype_bytes(view.dtype, view.dim(-1)));
  const size_t all = static_cast<size_t>(view.storage->bytes()) / row;
  const size_t cuts[] = {0, 1, all / 2, all};
  std::vector<HostPiece> pieces;
  for (size_t i = 0; i < 3; ++i) {
    std::vector<std::byte> bytes((cuts[i + 1] - cuts[i]) * row);
    cpu->download(view.storage, cuts[i] * row, bytes);
    keep.push_back(std::move(bytes));
  }
  for (size_t i = keep.size() - 3; i < keep.size(); ++i) {
    pieces.push_back(keep[i]);
  }
  return {cpu->import_host(pieces, nullptr, row, 2, "pieces").storage, view.layout, view.dtype};
}

TEST(CpuFused, LinearOfEveryTypeInOneAndInManyPieces) {
  const Cpu cpu;
  for (const DType dtype :
       {DType::F32, DType::F16, DType::BF16, DType::Q8_0, DType::Q4_0, DType::Q4_1}) {
    for (const int64_t rows : {1, 3, 4, 37}) {
      const int64_t in = is_quantized(dtype) ? 96 : 71;
      LinearArgs args;
      args.x = cpu.floats(random_floats(rows * in, 1), {rows, in});
      args.weight = weight_of(cpu, dtype, {47, in}, 2);
      args.bias = cpu.floats(random_floats(47, 3), {47}, DType::BF16);
      args.residual = turned(cpu.floats(random_floats(47 * rows, 4), {47, rows}), 0, 1);
      const Floats expected = linear_reference(cpu, args);
      const View y = cpu.empty({rows, 47});
      cpu->linear(args, y);
      EXPECT_LE(distance(cpu.read(y), expected), 1e-6) << dtype_name(dtype) << " " << rows;
      cpu->Backend::linear(args, y);
      EXPECT_LE(distance(cpu.read(y), expected), 1e-6) << dtype_name(dtype) << " " << rows;
      std::vector<std::vector<std::byte>> keep;
      args.weight = in_pieces(cpu, args.weight, keep);
      cpu->linear(args, y);
      EXPECT_LE(distance(cpu.read(y), expected), 1e-6) << dtype_name(dtype) << " " << rows;
      cpu->Backend::linear(args, y);
      EXPECT_LE(distance(cpu.read(y), expected), 1e-6) << dtype_name(dtype) << " " << rows;
    }
  }
}

TEST(CpuFused, LinearDeeperThanOneBlock) {
  const Cpu cpu;
  LinearArgs args;
  args.x = cpu.floats(random_floats(6 * 4500, 1), {6, 4500});
  args.weight = cpu.floats(random_floats(5 * 4500, 2), {5, 4500}, DType::BF16);
  const View y = cpu.empty({6, 5});
  cpu->linear(args, y);
  EXPECT_LE(distance(cpu.read(y), linear_reference(cpu, args)), 2e-6);
}

/// Three sequences over scattered pages of 4 slots, grouped heads, one empty query.
AttentionArgs attention_case(const Cpu& cpu, DType cache) {
  AttentionArgs args;
  args.q = turned(cpu.floats(random_floats(6 * 5 * 20, 1), {6, 5, 20}), 0, 1);
  args.k_cache = cpu.floats(random_floats(9 * 2 * 4 * 20, 2), {9, 2, 4, 20}, cache);
  args.v_cache = cpu.floats(random_floats(9 * 2 * 4 * 20, 3), {9, 2, 4, 20}, cache);
  args.spans = cpu.ids({0, 9, 0, 0, 10, 0, 3, 5, 1, 7, 7, 1, 2, 11, 2}, {5, 3});
  args.pages = cpu.ids({8, 2, 4, 1, 0, 7, 3, 5, 6}, {3, 3});
  args.scale = 0.3f;
  args.max_span = 12;
  return args;
}

TEST(CpuFused, AttentionAgreesWithTheFormula) {
  const Cpu cpu;
  for (const DType cache : {DType::F32, DType::BF16}) {
    const AttentionArgs args = attention_case(cpu, cache);
    const Floats q = cpu.read(args.q), k = cpu.read(args.k_cache), v = cpu.read(args.v_cache);
    const auto spans = cpu.read_ids(args.spans), pages = cpu.read_ids(args.pages);
    Floats expected;
    for (size_t t = 0; t < 5; ++t) {
      for (size_t h = 0; h < 6; ++h) {
        double sum = 1e-300;
        std::vector<double> y(20, 0.0);
        for (size_t s = spans[3 * t]; s < spans[3 * t + 1]; ++s) {
          const size_t at = ((pages[spans[3 * t + 2] * 3 + s / 4] * 2 + h / 3) * 4 + s % 4) * 20;
          double score = 0.0;
          for (size_t i = 0; i < 20; ++i) {
            score += static_cast<double>(q[(t * 6 + h) * 20 + i]) * static_cast<double>(k[at + i]);
          }
          const double share = std::exp(static_cast<double>(args.scale) * score);
          sum += share;
          for (size_t i = 0; i < 20; ++i) {
            y[i] += share * static_cast<double>(v[at + i]);
          }
        }
        for (const double value : y) {
          expected.push_back(static_cast<float>(value / sum));
        }
      }
    }
    const View y = cpu.empty({5, 6, 20});
    cpu->attention(args, y);
    EXPECT_LE(distance(cpu.read(y), expected), 1e-6);
    cpu->Backend::attention(args, y);
    EXPECT_LE(distance(cpu.read(y), expected), 1e-6);
  }
}

TEST(CpuFused, AttentionChecksItsIndices) {
  const Cpu cpu;
  AttentionArgs args = attention_case(cpu, DType::F32);
  const View y = cpu.empty({5, 6, 20});
  args.pages = cpu.ids({8, 2, 9, 1, 0, 7, 3, 5, 6}, {3, 3});
  EXPECT_THAT(error_of(ErrorKind::InvalidArgument, [&] { cpu->attention(args, y); }),
              HasSubstr("attention (page): the index 9"));
  EXPECT_THAT(error_of(ErrorKind::InvalidArgument, [&] { cpu->Backend::attention(args, y); }),
              HasSubstr("position 8 of sequence 0 lies in no page"));
}

TEST(CpuFused, KvWrite) {
  const Cpu cpu;
  for (const DType dtype : {DType::F32, DType::BF16}) {
    const View x = cpu.floats({1, 2, 3, 4, 5, 6, 7, 8}, {2, 2, 2});
    const View one = cpu.floats(Floats(16, -1.0f), {2, 2, 2, 2}, dtype);
    const View two = cpu.floats(Floats(16, -1.0f), {2, 2, 2, 2}, dtype);
    const View slots = cpu.ids({3, 0}, {2});
    const Floats expected = {5, 6, -1, -1, 7, 8, -1, -1, -1, -1, 1, 2, -1, -1, 3, 4};
    cpu->kv_write(x, slots, one);
    EXPECT_EQ(cpu.read(one), expected);
    cpu->Backend::kv_write(x, slots, two);
    EXPECT_EQ(cpu.read(two), expected);
    EXPECT_THAT(
        error_of(ErrorKind::InvalidArgument, [&] { cpu->kv_write(x, cpu.ids({0, 4}, {2}), one); }),
        HasSubstr("kv_write: the index 4 at position 1"));
  }
}

TEST(CpuFused, MoeRoute) {
  const Cpu cpu;
  MoeRouteArgs args;
  args.logits =
      cpu.floats({std::log(1.0f), std::log(4.0f), std::log(1.0f), std::log(4.0f)}, {1, 4});
  const View experts = cpu.empty({1, 3}, DType::U32), weights = cpu.empty({1, 3});
  const auto check = [&](const Floats& expected) {
    EXPECT_THAT(cpu.read_ids(experts), ElementsAre(1u, 3u, 0u));
    EXPECT_LE(distance(cpu.read(weights), expected), 1e-6);
  };
  const Floats normal = {4.0f / 9, 4.0f / 9, 1.0f / 9};
  cpu->moe_route(args, experts, weights);
  check(normal);
  cpu->Backend::moe_route(args, experts, weights);
  check(normal);
  args.normalize = false;
  cpu->moe_route(args, experts, weights);
  check({0.4f, 0.4f, 0.1f});
  cpu->Backend::moe_route(args, experts, weights);
  check({0.4f, 0.4f, 0.1f});
}

/// The formula in double for one token after another.
Floats moe_reference(const Cpu& cpu, const MoeArgs& args) {
  const auto wide = [&](const View& view) {
    const View y = cpu.empty(view.shape());
    cpu->copy(view, y);
    return cpu.read(y);
  };
  const Floats gate = wide(args.gate), up = wide(args.up), down = wide(args.down);
  const Floats x = cpu.read(args.x), weights = cpu.read(args.weights);
  const auto experts = cpu.read_ids(args.experts);
  const auto hidden = static_cast<size_t>(args.gate.dim(2));
  const auto inner = static_cast<size_t>(args.gate.dim(1));
  const auto k = static_cast<size_t>(args.experts.dim(1));
  Floats out = args.residual ? cpu.read(*args.residual) : Floats(x.size(), 0.0f);
  std::vector<double> y(out.begin(), out.end());
  for (size_t pair = 0; pair < experts.size(); ++pair) {
    const size_t token = pair / k;
    for (size_t i = 0; i < inner; ++i) {
      double g = 0.0, u = 0.0;
      for (size_t c = 0; c < hidden; ++c) {
        const auto value = static_cast<double>(x[token * hidden + c]);
        g += value * static_cast<double>(gate[(experts[pair] * inner + i) * hidden + c]);
        u += value * static_cast<double>(up[(experts[pair] * inner + i) * hidden + c]);
      }
      const double h = static_cast<double>(weights[pair]) * g / (1.0 + std::exp(-g)) * u;
      for (size_t c = 0; c < hidden; ++c) {
        y[token * hidden + c] +=
            h * static_cast<double>(down[(experts[pair] * hidden + c) * inner + i]);
      }
    }
  }
  return Floats(y.begin(), y.end());
}

TEST(CpuFused, MoeOfEveryTypeInOneAndInManyPieces) {
  const Cpu cpu;
  for (const DType dtype :
       {DType::F32, DType::F16, DType::BF16, DType::Q8_0, DType::Q4_0, DType::Q4_1}) {
    for (const int64_t tokens : {1, 23}) {
      MoeArgs args;
      std::vector<uint32_t> chosen;
      for (uint32_t t = 0; t < static_cast<uint32_t>(tokens); ++t) {
        chosen.push_back(t * t % 4);  // expert 2 and 3 rarely, 4 always
        chosen.push_back(4);
      }
      args.x = cpu.floats(random_floats(tokens * 64, 1), {tokens, 64});
      args.experts = cpu.ids(chosen, {tokens, 2});
      args.weights = cpu.floats(random_floats(tokens * 2, 2), {tokens, 2});
      args.gate = weight_of(cpu, dtype, {5, 32, 64}, 3);
      args.up = weight_of(cpu, dtype, {5, 32, 64}, 4);
      args.down = weight_of(cpu, dtype, {5, 64, 32}, 5);
      if (tokens > 1) {
        args.residual = cpu.floats(random_floats(tokens * 64, 6), {tokens, 64});
      }
      const Floats expected = moe_reference(cpu, args);
      const View y = cpu.empty({tokens, 64});
      cpu->moe(args, y);
      EXPECT_LE(distance(cpu.read(y), expected), 2e-6) << dtype_name(dtype) << " " << tokens;
      cpu->Backend::moe(args, y);
      EXPECT_LE(distance(cpu.read(y), expected), 2e-6) << dtype_name(dtype) << " " << tokens;
      std::vector<std::vector<std::byte>> keep;
      args.gate = in_pieces(cpu, args.gate, keep);
      args.down = in_pieces(cpu, args.down, keep);
      cpu->moe(args, y);
      EXPECT_LE(distance(cpu.read(y), expected), 2e-6) << dtype_name(dtype) << " " << tokens;
      cpu->Backend::moe(args, y);
      EXPECT_LE(distance(cpu.read(y), expected), 2e-6) << dtype_name(dtype) << " " << tokens;
      args.experts = cpu.ids(std::vector<uint32_t>(chosen.size(), 5u), {tokens, 2});
      EXPECT_THAT(error_of(ErrorKind::InvalidArgument, [&] { cpu->moe(args, y); }),
                  HasSubstr("moe: the index 5"));
    }
  }
}

}  // namespace
}  // namespace candela
