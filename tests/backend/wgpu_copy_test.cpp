#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "wgpu_fixture.h"

namespace candela::wgpu {
namespace {

/// Values where roundings go wrong: ties, overflow, subnormals, infinities.
std::vector<float> hard_values() {
  std::vector<float> values = {0.0f,
                               -0.0f,
                               1.0f,
                               -1.5f,
                               65504.0f,
                               65519.9f,
                               65520.0f,
                               70000.0f,
                               -70000.0f,
                               3e38f,
                               0x1p-14f,
                               0x1p-15f,
                               0x1.8p-24f,
                               0x1p-24f,
                               0x1p-25f,
                               0x1.000002p-25f,
                               0x1p-26f,
                               -0x1.4p-20f,
                               1.00390625f,
                               1.01171875f,
                               1.0009765625f,
                               1.00048828125f,
                               1.00146484375f,
                               std::numeric_limits<float>::infinity(),
                               -std::numeric_limits<float>::infinity()};
  uint32_t state = 12345;
  for (int i = 0; i < 2000; ++i) {
    state = state * 1664525u + 1013904223u;
    const float value = std::bit_cast<float>(state);
    // F32 denormals may be flushed, NaN payloads may change.
    if (std::isnormal(value)) {
      values.push_back(value);
    }
  }
  if (values.size() % 2 != 0) {
    values.push_back(2.5f);
  }
  return values;
}

TEST(WgpuCopy, RoundsToHalvesExactlyAsTheHost) {
  WgpuBackend& backend = test_backend();
  const std::vector<float> values = hard_values();
  const auto count = static_cast<int64_t>(values.size());
  const View x = put(backend, {count}, DType::F32, values);
  const View bf16 = make_view(backend, {count}, DType::BF16);
  const View f16 = make_view(backend, {count}, DType::F16);
  const View back = make_view(backend, {count}, DType::F32);
  backend.copy(x, bf16);
  backend.copy(x, f16);
  backend.copy(f16, back);
  const auto b = get<BFloat16>(backend, bf16);
  const auto h = get<Float16>(backend, f16);
  const auto r = get<float>(backend, back);
  for (size_t i = 0; i < values.size(); ++i) {
    EXPECT_EQ(b[i].bits, to_bf16(values[i]).bits) << values[i];
    EXPECT_EQ(h[i].bits, to_f16(values[i]).bits) << values[i];
    EXPECT_EQ(std::bit_cast<uint32_t>(r[i]), std::bit_cast<uint32_t>(to_float(h[i]))) << values[i];
  }
}

TEST(WgpuCopy, ConvertsBetweenFloatsAndIntegers) {
  WgpuBackend& backend = test_backend();
  const std::vector<float> values = {0.0f, 1.9f, -1.9f, 3e9f, -3e9f, 5e9f, 2147483520.0f, -0.5f};
  const View x = put(backend, {8}, DType::F32, values);
  const View i = make_view(backend, {8}, DType::I32);
  const View u = make_view(backend, {8}, DType::U32);
  const View f = make_view(backend, {8}, DType::F32);
  backend.copy(x, i);
  backend.copy(x, u);
  EXPECT_EQ(get<int32_t>(backend, i), (std::vector<int32_t>{0, 1, -1, 2147483647, -2147483647 - 1,
                                                            2147483647, 2147483520, 0}));
  EXPECT_EQ(get<uint32_t>(backend, u),
            (std::vector<uint32_t>{0, 1, 0, 3000000000u, 0, 4294967295u, 2147483520u, 0}));
  backend.copy(i, f);
  EXPECT_EQ(get<float>(backend, f)[2], -1.0f);
  backend.copy(u, i);
  EXPECT_EQ(get<int32_t>(backend, i)[3], static_cast<int32_t>(3000000000u));
}

TEST(WgpuCopy, KeepsBitsAndNeighbours) {
  WgpuBackend& backend = test_backend();
  // A NaN with payload and a denormal go through unchanged.
  const View x = put<uint32_t>(backend, {2}, DType::F32, {0x7fc12345u, 0x00000007u});
  const View y = make_view(backend, {2}, DType::F32);
  backend.copy(x, y);
  EXPECT_EQ(get<uint32_t>(backend, y), (std::vector<uint32_t>{0x7fc12345u, 0x00000007u}));

  // Halves written at odd places must not touch what lies beside them in the same word.
  std::vector<BFloat16> numbers(35);
  for (size_t i = 0; i < numbers.size(); ++i) {
    numbers[i].bits = static_cast<uint16_t>(1000 + i);
  }
  const View from = put(backend, {5, 7}, DType::BF16, numbers);
  const View to = put(backend, {5, 7}, DType::BF16, std::vector<BFloat16>(35));
  backend.copy({from.storage, from.layout.narrow(1, 2, 3), from.dtype},
               {to.storage, to.layout.narrow(1, 3, 3), to.dtype});
  const auto got = get<BFloat16>(backend, to);
  for (size_t row = 0; row < 5; ++row) {
    for (size_t column = 0; column < 7; ++column) {
      const bool inside = column >= 3 && column < 6;
      EXPECT_EQ(got[row * 7 + column].bits, inside ? 1000 + row * 7 + column - 1 : 0u);
    }
  }
}

TEST(WgpuCopy, SixDimensionsPermutedAndOffset) {
  WgpuBackend& backend = test_backend();
  const Shape shape{2, 3, 2, 4, 3, 5};
  std::vector<float> values(720 + 1);
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(i);
  }
  const View x = put(backend, {721}, DType::F32, values);
  const Layout layout(shape, 1);
  const int axes[] = {4, 2, 0, 5, 3, 1};
  const Layout turned = layout.permute(axes);
  const View y = make_view(backend, turned.shape, DType::F32);
  backend.copy({x.storage, turned, DType::F32}, y);
  const auto got = get<float>(backend, y);
  size_t at = 0;
  std::array<int64_t, 6> i{};
  for (i[0] = 0; i[0] < turned.shape[0]; ++i[0])
    for (i[1] = 0; i[1] < turned.shape[1]; ++i[1])
      for (i[2] = 0; i[2] < turned.shape[2]; ++i[2])
        for (i[3] = 0; i[3] < turned.shape[3]; ++i[3])
          for (i[4] = 0; i[4] < turned.shape[4]; ++i[4])
            for (i[5] = 0; i[5] < turned.shape[5]; ++i[5]) {
              int64_t offset = turned.offset;
              for (int d = 0; d < 6; ++d) {
                offset += i[static_cast<size_t>(d)] * turned.stride(d);
              }
              ASSERT_EQ(got[at++], values[static_cast<size_t>(offset)]);
            }
}

TEST(WgpuCopy, MoreThan65535WorkgroupsAndEmptyTensors) {
  WgpuBackend& backend = test_backend();
  const int64_t count = int64_t{65536} * 256 + 3;
  const View y = make_view(backend, {count}, DType::BF16);
  backend.fill(y, 7.0);
  const auto got = get<BFloat16>(backend, y);
  EXPECT_EQ(to_float(got.front()), 7.0f);
  EXPECT_EQ(to_float(got[65536 * 256 - 1]), 7.0f);
  EXPECT_EQ(to_float(got.back()), 7.0f);
  const View empty = make_view(backend, {0, 3}, DType::F32);
  backend.fill(empty, 1.0);
  backend.copy(empty, empty);
  EXPECT_TRUE(get<float>(backend, empty).empty());
}

TEST(WgpuCopy, DequantisesBlocks) {
  WgpuBackend& backend = test_backend();
  const uint16_t scale = to_f16(0.5f).bits, minimum = to_f16(-2.0f).bits;
  const auto put16 = [](std::vector<uint8_t>& bytes, uint16_t value) {
    bytes.push_back(static_cast<uint8_t>(value & 255u));
    bytes.push_back(static_cast<uint8_t>(value >> 8));
  };
  std::vector<uint8_t> q8, q40, q41, q816;
  for (int block = 0; block < 3; ++block) {
    put16(q8, scale);
    put16(q40, scale);
    put16(q41, scale);
    put16(q41, minimum);
    put16(q816, scale);
    put16(q816, minimum);
    for (int i = 0; i < 32; ++i) {
      q8.push_back(static_cast<uint8_t>(static_cast<int8_t>(i * 3 - 50 - block)));
      q816.push_back(q8.back());
    }
    for (int i = 0; i < 16; ++i) {
      const auto packed = static_cast<uint8_t>(i | ((15 - i) << 4));
      q40.push_back(packed);
      q41.push_back(packed);
    }
  }
  const Shape shape{3, 32};
  const View y = make_view(backend, shape, DType::F32);
  backend.copy(put(backend, shape, DType::Q8_0, q8), y);
  auto got = get<float>(backend, y);
  EXPECT_EQ(got[0], -25.0f);
  EXPECT_EQ(got[64 + 31], (31 * 3 - 52) * 0.5f);
  backend.copy(put(backend, shape, DType::Q8_16, q816), y);
  got = get<float>(backend, y);
  EXPECT_EQ(got[32 + 15], (15 * 3 - 51) * 0.5f);
  EXPECT_EQ(got[64 + 16], (16 * 3 - 52) * -2.0f);
  backend.copy(put(backend, shape, DType::Q4_0, q40), y);
  got = get<float>(backend, y);
  EXPECT_EQ(got[3], (3 - 8) * 0.5f);
  EXPECT_EQ(got[32 + 16 + 3], (12 - 8) * 0.5f);
  const View half = make_view(backend, shape, DType::BF16);
  backend.copy(put(backend, shape, DType::Q4_1, q41), half);
  const auto bits = get<BFloat16>(backend, half);
  EXPECT_EQ(to_float(bits[5]), 5 * 0.5f - 2.0f);
  EXPECT_EQ(to_float(bits[64 + 31]), 0 * 0.5f - 2.0f);
}

}  // namespace
}  // namespace candela::wgpu
