#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "backend/cpu_support.h"
#include "backend/philox.h"

namespace candela {
namespace {

using test::Cpu;
using test::distance;
using test::error_of;
using testing::ElementsAre;
using testing::HasSubstr;
using Floats = std::vector<float>;

constexpr float kInf = std::numeric_limits<float>::infinity();

/// Owns nothing; who keeps it alive is counted.
class Nobody final : public HostMemory {
 public:
  void read(HostPiece from, std::byte* to) const override { std::ranges::copy(from, to); }
  bool has_whole_pages() const override { return false; }
};

TEST(CpuStorage, CountsBytesAndCopiesNoImports) {
  const Cpu cpu;
  const uint64_t before = cpu->counters().bytes_reserved;
  const Floats first = {1, 2, 3, 4};
  const Floats second = {5, 6};
  const HostPiece pieces[] = {std::as_bytes(std::span(first)), std::as_bytes(std::span(second))};
  const auto owner = std::make_shared<Nobody>();
  {
    const View view{cpu->import_host(pieces, owner, 8, 4, "w").storage, Layout(Shape{3, 2}),
                    DType::F32};
    EXPECT_EQ(owner.use_count(), 2);
    EXPECT_TRUE(view.storage->is_segmented());
    EXPECT_EQ(cpu->counters().bytes_reserved, before);
    EXPECT_EQ(cpu->counters().bytes_in_use, 24u);
    Floats all(6);
    cpu->download(view.storage, 0, std::as_writable_bytes(std::span(all)));
    EXPECT_THAT(all, ElementsAre(1, 2, 3, 4, 5, 6));
    EXPECT_EQ(cpu.read({view.storage, view.layout.transpose(0, 1), DType::F32}),
              (Floats{1, 3, 5, 2, 4, 6}));
    EXPECT_THAT(error_of(ErrorKind::Unsupported, [&] { cpu->fill(view, 1.0); }),
                HasSubstr("w lies in a mapped file"));
    EXPECT_THAT(error_of(ErrorKind::Unsupported,
                         [&] { cpu->unary(UnaryKind::neg, 0, 0, view, cpu.empty({3, 2})); }),
                HasSubstr("neg does not read w, which lies in 2 separate pieces"));
  }
  EXPECT_EQ(owner.use_count(), 1);
  EXPECT_EQ(cpu->counters().bytes_in_use, 0u);
  EXPECT_THAT(error_of(ErrorKind::OutOfMemory, [&] { (void)cpu->allocate(1ull << 61, 1, "huge"); }),
              HasSubstr("huge"));
}

TEST(CpuCopy, ConvertsAmongAllTypes) {
  const Cpu cpu;
  const View x = cpu.floats({-1.9f, 300.7f, 3e9f, NAN, kInf, 1.0f}, {6});
  const auto as = [&](DType dtype) {
    const View y = cpu.empty({6}, dtype);
    cpu->copy(x, y);
    return y;
  };
  EXPECT_THAT(cpu.read_raw<uint8_t>(as(DType::U8)), ElementsAre(0, 255, 255, 0, 255, 1));
  EXPECT_THAT(cpu.read_raw<int32_t>(as(DType::I32)),
              ElementsAre(-1, 300, 2147483647, 0, 2147483647, 1));
  EXPECT_THAT(cpu.read_raw<uint32_t>(as(DType::U32)),
              ElementsAre(0u, 300u, 3000000000u, 0u, 4294967295u, 1u));
  EXPECT_EQ(cpu.read_raw<int64_t>(as(DType::I64))[2], 3000000000);
  EXPECT_EQ(cpu.read_raw<int64_t>(as(DType::I64))[4], std::numeric_limits<int64_t>::max());
  // 300.7 lies between 300 and 302 in BF16 (8 bits) and is 300.75 in F16 (steps of 0.25).
  EXPECT_EQ(cpu.read(as(DType::BF16))[1], 300.0f);
  EXPECT_EQ(cpu.read(as(DType::F16))[1], 300.75f);
  const View big = cpu.raw<int64_t>({-5, 1ll << 33, 70000}, {3}, DType::I64);
  EXPECT_THAT(cpu.read(big), ElementsAre(-5.0f, 8589934592.0f, 70000.0f));
  const View words = cpu.empty({3}, DType::U32);
  cpu->copy(big, words);
  EXPECT_THAT(cpu.read_ids(words), ElementsAre(4294967291u, 0u, 70000u));
}

TEST(CpuCopy, WalksStridesOffsetsAndBlocks) {
  const Cpu cpu;
  const View x = cpu.floats({0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, {3, 4});
  const View y = cpu.floats(Floats(12, -1.0f), {4, 3});
  // The middle columns, turned, into the last two rows of y.
  cpu->copy({x.storage, x.layout.narrow(1, 1, 2).transpose(0, 1), x.dtype},
            {y.storage, y.layout.narrow(0, 2, 2), y.dtype});
  EXPECT_EQ(cpu.read(y), (Floats{-1, -1, -1, -1, -1, -1, 1, 5, 9, 2, 6, 10}));
  const View none = cpu.empty({0, 4});
  cpu->copy(none, none);
  const auto blocks = test::random_blocks(DType::Q8_0, 96, 1);
  const View q = cpu.raw(blocks, {3, 32}, DType::Q8_0);
  const View whole = cpu.empty({3, 32});
  cpu->copy(q, whole);
  const View row = cpu.empty({1, 32}, DType::BF16);
  cpu->copy({q.storage, q.layout.narrow(0, 1, 1), q.dtype}, row);
  EXPECT_EQ(cpu.read(row)[7], to_float(to_bf16(cpu.read(whole)[39])));
  EXPECT_EQ(cpu.read(whole)[39],
            to_float(Float16{static_cast<uint16_t>(static_cast<unsigned>(blocks[34]) |
                                                   static_cast<unsigned>(blocks[35]) << 8)}) *
                static_cast<float>(static_cast<int8_t>(blocks[36 + 7])));
}

TEST(CpuElementwise, HandWorkedValues) {
  const Cpu cpu;
  const View x = cpu.floats({-2, 0, 3}, {3});
  const View y = cpu.empty({3});
  const auto run = [&](UnaryKind kind, float a = 0, float b = 0) {
    cpu->unary(kind, a, b, x, y);
    return cpu.read(y);
  };
  EXPECT_EQ(run(UnaryKind::affine, 2, 1), (Floats{-3, 1, 7}));
  EXPECT_EQ(run(UnaryKind::clamp, -1, 2), (Floats{-1, 0, 2}));
  EXPECT_EQ(run(UnaryKind::leaky_relu, 0.5f), (Floats{-1, 0, 3}));
  EXPECT_EQ(run(UnaryKind::sign), (Floats{-1, 0, 1}));
  EXPECT_NEAR(run(UnaryKind::silu)[2], 2.857722, 1e-6);
  EXPECT_NEAR(run(UnaryKind::gelu)[2], 2.996363, 2e-6);
  EXPECT_NEAR(run(UnaryKind::gelu_erf)[0], -0.045500, 1e-6);
  cpu->unary(UnaryKind::silu, 0, 0, cpu.floats({-3e38f, 3e38f, -100}, {3}), y);
  EXPECT_TRUE(std::isfinite(cpu.read(y)[0]) && cpu.read(y)[1] == 3e38f);

  // A column times a row, broadcast; BF16 in, F16 out.
  const View column = cpu.floats({1, 2}, {2, 1}, DType::BF16);
  const View product = cpu.empty({2, 3}, DType::F16);
  cpu->binary(BinaryKind::mul, {column.storage, column.layout.broadcast_to({2, 3}), column.dtype},
              {x.storage, x.layout.broadcast_to({2, 3}), x.dtype}, product);
  EXPECT_EQ(cpu.read(product), (Floats{-2, 0, 3, -4, 0, 6}));

  const View i = cpu.ids({5, 7, 0}, {3});
  const View j = cpu.ids({6, 7, 1}, {3});
  const View k = cpu.empty({3}, DType::U32);
  cpu->binary(BinaryKind::sub, i, j, k);
  EXPECT_THAT(cpu.read_ids(k), ElementsAre(4294967295u, 0u, 4294967295u));
  cpu->compare(CompareKind::lt, i, j, k);
  EXPECT_THAT(cpu.read_ids(k), ElementsAre(1u, 0u, 1u));
  cpu->where(k, x, cpu.floats({7, 8, 9}, {3}), y);
  EXPECT_EQ(cpu.read(y), (Floats{-2, 8, 3}));
  EXPECT_THAT(error_of(ErrorKind::Unsupported, [&] { cpu->binary(BinaryKind::div, i, j, k); }),
              HasSubstr("div does not take U32"));
}

TEST(CpuReduce, HandWorkedValues) {
  const Cpu cpu;
  const View x = cpu.floats({1, 5, 5, -2, 0, -7}, {2, 3});
  const View y = cpu.empty({2});
  const auto run = [&](ReduceKind kind) {
    cpu->reduce(kind, x, y);
    return cpu.read(y);
  };
  EXPECT_EQ(run(ReduceKind::sum), (Floats{11, -9}));
  EXPECT_EQ(run(ReduceKind::mean), (Floats{11.0f / 3, -3}));
  EXPECT_EQ(run(ReduceKind::max), (Floats{5, 0}));
  EXPECT_EQ(run(ReduceKind::min), (Floats{1, -7}));
  const View best = cpu.empty({2}, DType::U32);
  cpu->arg_reduce(ReduceKind::max, x, best);
  EXPECT_THAT(cpu.read_ids(best), ElementsAre(1u, 1u));
  cpu->arg_reduce(ReduceKind::min, x, best);
  EXPECT_THAT(cpu.read_ids(best), ElementsAre(0u, 2u));
  cpu->arg_reduce(ReduceKind::max, cpu.floats({1, NAN, 3, 4, 5, 6}, {2, 3}), best);
  EXPECT_THAT(cpu.read_ids(best), ElementsAre(4294967295u, 2u));
  // Down the columns of the transposed view.
  const View turned{x.storage, x.layout.transpose(0, 1), x.dtype};
  const View sums = cpu.empty({3, 2});
  cpu->cumsum(turned, sums);
  EXPECT_EQ(cpu.read(sums), (Floats{1, -1, 5, 5, 5, -2}));
  cpu->reduce(ReduceKind::sum, cpu.empty({2, 0}), y);
  EXPECT_EQ(cpu.read(y), (Floats{0, 0}));
  const View values = cpu.empty({2, 2});
  const View places = cpu.empty({2, 2}, DType::U32);
  cpu->top_k(x, values, places);
  EXPECT_EQ(cpu.read(values), (Floats{5, 5, 0, -2}));
  EXPECT_THAT(cpu.read_ids(places), ElementsAre(1u, 2u, 1u, 0u));
}

TEST(CpuMatmul, HandWorkedAndTransposed) {
  const Cpu cpu;
  const View a = cpu.floats({1, 2, 3, 4, 5, 6}, {2, 3});
  const View b = cpu.floats({1, 0, 2, -1, 0, 1}, {3, 2});
  const View y = cpu.empty({2, 2});
  cpu->matmul(a, b, y);
  EXPECT_EQ(cpu.read(y), (Floats{5, 1, 14, 1}));
  const View z = cpu.empty({3, 3});
  cpu->matmul({a.storage, a.layout.transpose(0, 1), a.dtype},
              {b.storage, b.layout.transpose(0, 1), b.dtype}, z);
  EXPECT_EQ(cpu.read(z), (Floats{1, -2, 4, 2, -1, 5, 3, 0, 6}));
}

TEST(CpuMatmul, AgreesWithDoubleSums) {
  const Cpu cpu;
  const int64_t m = 37, k = 71, n = 101, batch = 3;
  const auto av = test::random_floats(batch * m * k, 1);
  const auto bv = test::random_floats(k * n, 2);
  const View a = cpu.floats(av, {batch, m, k});
  const View b = cpu.floats(bv, {1, k, n});
  const View y = cpu.empty({batch, m, n});
  cpu->matmul(a, {b.storage, b.layout.broadcast_to({batch, k, n}), b.dtype}, y);
  Floats expected;
  for (int64_t i = 0; i < batch * m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      double sum = 0.0;
      for (int64_t at = 0; at < k; ++at) {
        sum += static_cast<double>(av[static_cast<size_t>(i * k + at)]) *
               static_cast<double>(bv[static_cast<size_t>(at * n + j)]);
      }
      expected.push_back(static_cast<float>(sum));
    }
  }
  EXPECT_LE(distance(cpu.read(y), expected), 1e-6);
}

TEST(CpuIndex, RowsAndAxes) {
  const Cpu cpu;
  const View table = cpu.floats({0, 1, 10, 11, 20, 21}, {3, 2}, DType::BF16);
  const View y = cpu.empty({2, 2});
  cpu->gather_rows(table, cpu.ids({2, 0}, {2}), y);
  EXPECT_EQ(cpu.read(y), (Floats{20, 21, 0, 1}));
  EXPECT_THAT(error_of(ErrorKind::InvalidArgument,
                       [&] { cpu->gather_rows(table, cpu.ids({2, 3}, {2}), y); }),
              HasSubstr("index 3 at position 1 is outside of the 3 entries"));
  cpu->write_rows(y, cpu.ids({1, 2}, {2}), table);
  EXPECT_EQ(cpu.read(table), (Floats{0, 1, 20, 21, 0, 1}));
  const View x = cpu.floats({1, 2, 3, 4, 5, 6}, {2, 3});
  cpu->gather(x, 1, cpu.ids({2, 0, 1, 1}, {2, 2}), y);
  EXPECT_EQ(cpu.read(y), (Floats{3, 1, 5, 5}));
  const View sums = cpu.floats({100, 0, 0, 0, 0, 0}, {2, 3});
  cpu->scatter_add(y, 1, cpu.ids({0, 0, 2, 1}, {2, 2}), sums);
  EXPECT_EQ(cpu.read(sums), (Floats{104, 0, 0, 0, 5, 5}));
  EXPECT_THAT(error_of(ErrorKind::InvalidArgument,
                       [&] { cpu->gather(x, 0, cpu.ids({2, 0, 0, 0, 0, 0}, {2, 3}), sums); }),
              HasSubstr("gather: the index 2"));
}

TEST(CpuConv, HandWorkedValues) {
  const Cpu cpu;
  Conv1dArgs args;
  args.x = cpu.floats({1, 2, 3, 4, 10, 20, 30, 40}, {1, 2, 4});
  args.weight = cpu.floats({1, 0, -1, 0.5f, 0, 0}, {1, 2, 3}, DType::BF16);
  args.bias = cpu.floats({100}, {1});
  args.pad_left = 1;
  args.pad_right = 1;
  const View y = cpu.empty({1, 1, 4});
  cpu->conv1d(args, y);
  EXPECT_EQ(cpu.read(y), (Floats{98, 103, 108, 118}));
  args.stride = 2;
  args.dilation = 2;
  args.pad_left = 2;
  args.pad_right = 2;  // (4 + 4 - 5) / 2 + 1 = 2 outputs: taps at -2, 0, 2 and 0, 2, 4
  const View z = cpu.empty({1, 1, 2});
  cpu->conv1d(args, z);
  EXPECT_EQ(cpu.read(z), (Floats{97, 106}));

  Conv1dArgs depthwise;
  depthwise.x = args.x;
  depthwise.weight = cpu.floats({1, 1, 2, 0}, {2, 1, 2});
  depthwise.groups = 2;
  depthwise.pad_left = 1;
  const View d = cpu.empty({1, 2, 4});
  cpu->conv1d(depthwise, d);
  EXPECT_EQ(cpu.read(d), (Floats{1, 3, 5, 7, 0, 20, 40, 60}));

  Conv2dArgs flat;
  flat.x = cpu.floats({1, 2, 3, 4, 5, 6, 7, 8, 9}, {1, 1, 3, 3});
  flat.weight = cpu.floats({1, 0, 0, 1}, {1, 1, 2, 2});
  flat.pad_h = flat.pad_w = 1;
  flat.stride_h = flat.stride_w = 2;
  const View p = cpu.empty({1, 1, 2, 2});
  cpu->conv2d(flat, p);
  EXPECT_EQ(cpu.read(p), (Floats{1, 3, 7, 14}));

  ConvTranspose1dArgs back;
  back.x = cpu.floats({1, 2, 10, 20}, {1, 2, 2});
  back.weight = cpu.floats({1, 2, 3, 4, 5, 6}, {2, 1, 3}, DType::F16);
  back.stride = 2;
  back.bias = cpu.floats({0.5f}, {1});
  const View whole = cpu.empty({1, 1, 5});
  cpu->conv_transpose1d(back, whole);
  EXPECT_EQ(cpu.read(whole), (Floats{41.5f, 52.5f, 145.5f, 104.5f, 126.5f}));
  back.trim_left = 1;
  back.trim_right = 2;
  const View cut = cpu.empty({1, 1, 2});
  cpu->conv_transpose1d(back, cut);
  EXPECT_EQ(cpu.read(cut), (Floats{52.5f, 145.5f}));
}

TEST(CpuRandom, PhiloxKnownAnswersAndMoments) {
  // Test vectors of the authors' library: zero key and counter; and pi's digits.
  EXPECT_THAT(philox::block(0, 0), ElementsAre(0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u));
  const Cpu cpu;
  const View y = cpu.empty({100, 101});
  cpu->random(RandomKind::normal, 42, 1.0f, 2.0f, y);
  double sum = 0.0, square = 0.0;
  const Floats values = cpu.read(y);
  for (const float value : values) {
    sum += static_cast<double>(value);
    square += static_cast<double>(value) * static_cast<double>(value);
  }
  const double mean = sum / static_cast<double>(values.size());
  EXPECT_NEAR(mean, 1.0, 0.08);
  EXPECT_NEAR(std::sqrt(square / static_cast<double>(values.size()) - mean * mean), 2.0, 0.06);
  // Element i depends on the seed and i alone.
  const View head = cpu.empty({7});
  cpu->random(RandomKind::normal, 42, 1.0f, 2.0f, head);
  EXPECT_EQ(cpu.read(head), Floats(values.begin(), values.begin() + 7));
  cpu->random(RandomKind::uniform, 0, 2.0f, 4.0f, head);
  EXPECT_EQ(cpu.read(head)[0], 2.0f + 2.0f * (static_cast<float>(0x6627e8) * 0x1p-24f));
  for (uint32_t i = 0; i < 4096; ++i) {
    const float u = static_cast<float>(i * 4093) * 0x1p-24f;
    const auto turn = philox::sincos_turn(u);
    EXPECT_NEAR(turn.sin, std::sin(6.283185307179586 * static_cast<double>(u)), 2e-7);
    EXPECT_NEAR(turn.cos, std::cos(6.283185307179586 * static_cast<double>(u)), 2e-7);
    const float v = 1.0f - u;
    EXPECT_NEAR(philox::log_unit(v), std::log(static_cast<double>(v)), 2e-6);
  }
}

}  // namespace
}  // namespace candela
