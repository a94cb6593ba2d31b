// The kernels of a decoder's step on WebGPU against the CPU backend, over dtypes, odd sizes,
// strided views and segmented weights. Each case runs on a device with the smallest limits of the
// specification and 16 KiB bindings, so that weights fall into many segments; with CANDELA_HOT_ALL
// set also on an ordinary one.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <string_view>
#include <vector>

#include "backend/device.h"
#include "base/bf16.h"
#include "base/error.h"

namespace candela {
namespace {

constexpr double kNmse = 1e-10;
constexpr double kWorst = 1e-4;

/// The same tensor on both devices.
struct Twin {
  View cpu, gpu;

  Twin narrow(int axis, int64_t start, int64_t length) const {
    Twin result = *this;
    result.cpu.layout = cpu.layout.narrow(axis, start, length);
    result.gpu.layout = gpu.layout.narrow(axis, start, length);
    return result;
  }
  Twin transpose(int a, int b) const {
    Twin result = *this;
    result.cpu.layout = cpu.layout.transpose(a, b);
    result.gpu.layout = gpu.layout.transpose(a, b);
    return result;
  }
};

std::vector<std::byte> encode(DType dtype, std::span<const float> values) {
  std::vector<std::byte> bytes(static_cast<size_t>(dtype_bytes(dtype, int64_t(values.size()))));
  for (size_t i = 0; i < values.size(); ++i) {
    if (dtype == DType::F32) {
      std::memcpy(&bytes[i * 4], &values[i], 4);
    } else {
      const uint16_t half = dtype == DType::BF16 ? to_bf16(values[i]).bits : to_f16(values[i]).bits;
      std::memcpy(&bytes[i * 2], &half, 2);
    }
  }
  return bytes;
}

/// Blocks of random quants with scales (and minima) around 0.05.
std::vector<std::byte> random_blocks(DType dtype, int64_t elements, std::mt19937& random) {
  std::vector<std::byte> bytes(static_cast<size_t>(dtype_bytes(dtype, elements)));
  for (std::byte& b : bytes) {
    b = static_cast<std::byte>(random() & 0xff);
  }
  const auto step = static_cast<size_t>(block_bytes(dtype));
  for (size_t at = 0; at < bytes.size(); at += step) {
    const uint16_t scale = to_f16(0.01f + 0.05f * float(random() % 100) / 100.0f).bits;
    std::memcpy(&bytes[at], &scale, 2);
    if (dtype == DType::Q4_1) {
      const uint16_t low = to_f16(-0.3f).bits;
      std::memcpy(&bytes[at + 2], &low, 2);
    }
  }
  return bytes;
}

class WgpuHot : public testing::TestWithParam<bool> {
 protected:
  static Device& cpu() {
    static Device device = Device::cpu(2);
    return device;
  }
  static Device& open(bool small) {
    static Device ordinary = Device::wgpu([] {
      WgpuOptions options;
      options.checked = std::getenv("CANDELA_HOT_FAST") == nullptr;
      return options;
    }());
    static Device smallest = Device::wgpu([] {
      WgpuOptions options;
      options.checked = std::getenv("CANDELA_HOT_FAST") == nullptr;
      options.minimum_limits = true;
      options.max_binding_bytes = 16384;
      return options;
    }());
    return small ? smallest : ordinary;
  }

  void SetUp() override {
    try {
      gpu_ = &open(GetParam());
    } catch (const Error& error) {
      const char* required = std::getenv("CANDELA_REQUIRE_WGPU");
      ASSERT_FALSE(required != nullptr && std::string_view(required) == "1") << error.what();
      GTEST_SKIP() << error.what();
    }
  }
  Backend& gpu() { return gpu_->backend(); }
  bool small() const { return GetParam(); }

  static View place(Backend& backend,
                    const Shape& shape,
                    DType dtype,
                    std::span<const std::byte> bytes,
                    uint64_t unit) {
    View view;
    view.layout = Layout(shape);
    view.dtype = dtype;
    view.storage = backend.allocate(bytes.size(), unit, "test tensor");
    backend.upload(view.storage, 0, bytes);
    return view;
  }

  Twin twin(const Shape& shape, DType dtype, std::span<const std::byte> bytes) {
    const int64_t row = shape.rank() == 0 ? 1 : shape[-1];
    const auto unit = static_cast<uint64_t>(dtype_bytes(dtype, row));
    return {place(cpu().backend(), shape, dtype, bytes, unit),
            place(gpu(), shape, dtype, bytes, unit)};
  }
  Twin values(const Shape& shape, std::span<const float> data, DType dtype = DType::F32) {
    return twin(shape, dtype, encode(dtype, data));
  }
  Twin random(const Shape& shape, DType dtype = DType::F32, float scale = 1.0f) {
    if (is_quantized(dtype)) {
      return twin(shape, dtype, random_blocks(dtype, shape.elements(), random_));
    }
    std::normal_distribution<float> normal(0.0f, scale);
    std::vector<float> data(static_cast<size_t>(shape.elements()));
    for (float& v : data) {
      v = normal(random_);
    }
    return values(shape, data, dtype);
  }
  Twin ids(const Shape& shape, std::span<const uint32_t> data) {
    return twin(shape, DType::U32, std::as_bytes(data));
  }

  template <typename T>
  static std::vector<T> read(Backend& backend, const View& view) {
    std::vector<T> data(static_cast<size_t>(view.elements()));
    backend.download(view.storage, uint64_t(view.layout.offset) * sizeof(T),
                     std::as_writable_bytes(std::span(data)));
    return data;
  }
  void same(const Twin& y, const char* what) {
    const auto expected = read<float>(cpu().backend(), y.cpu);
    const auto actual = read<float>(gpu(), y.gpu);
    double error = 0, power = 0, worst = 0;
    size_t at = 0;
    for (size_t i = 0; i < expected.size(); ++i) {
      const double difference = double(actual[i]) - expected[i];
      ASSERT_TRUE(std::isfinite(actual[i])) << what << " at " << i;
      error += difference * difference;
      power += double(expected[i]) * expected[i];
      if (std::fabs(difference) > worst) {
        worst = std::fabs(difference);
        at = i;
      }
    }
    const double rms = std::sqrt(power / double(expected.size()));
    EXPECT_LE(error, kNmse * power)
        << what << ": worst at " << at << ", " << actual[at] << " instead of " << expected[at];
    EXPECT_LE(worst, kWorst * rms)
        << what << ": worst at " << at << ", " << actual[at] << " instead of " << expected[at];
    if (power == 0) {
      EXPECT_EQ(error, 0) << what;
    }
  }
  template <typename Op>
  void both(Op op) {
    op(cpu().backend(), [](const Twin& t) -> const View& { return t.cpu; });
    op(gpu(), [](const Twin& t) -> const View& { return t.gpu; });
  }

  std::mt19937 random_{7};
  Device* gpu_ = nullptr;
};

constexpr DType kFloats[] = {DType::F32, DType::F16, DType::BF16};
constexpr DType kWeights[] = {DType::F32,  DType::F16,  DType::BF16,
                              DType::Q8_0, DType::Q4_0, DType::Q4_1};

TEST_P(WgpuHot, LinearOverDtypesAndRows) {
  for (const DType dtype : kWeights) {
    for (const int64_t rows : {1, 2, 3, 7, 13, 70}) {
      const int64_t cols = 96, outs = 131;
      // A pipeline takes a software driver a second to compile: every dtype with the two kernels,
      // every number of rows with one dtype.
      if ((small() && rows > 20) || (dtype != DType::BF16 && rows != 2 && rows != 70)) {
        continue;
      }
      const Twin x = random({rows, cols});
      const Twin w = random({outs, cols}, dtype, 0.1f);
      const Twin bias = random({outs}, rows % 2 != 0 ? DType::F32 : DType::BF16);
      const Twin residual = random({rows, outs});
      const Twin y = random({rows, outs});
      both([&](Backend& b, auto of) {
        LinearArgs args{of(x), of(w), {}, {}};
        if (rows != 7) {
          args.bias = of(bias);
        }
        if (rows != 3) {
          args.residual = of(residual);
        }
        b.linear(args, of(y));
      });
      same(y, (std::string(dtype_name(dtype)) + " rows " + std::to_string(rows)).c_str());
    }
  }
}

TEST_P(WgpuHot, LinearOddSizesOffsetsAndStrides) {
  for (const DType dtype : kFloats) {
    for (const int64_t cols : {1, 5, 37, 230}) {
      for (const int64_t rows : {2, 17}) {
        const Twin x = random({rows, cols + 3}).narrow(1, 3, cols);
        const Twin w = random({68, cols}, dtype).narrow(0, 1, 67);
        const Twin y = random({rows, 67});
        both([&](Backend& b, auto of) { b.linear({of(x), of(w), {}, {}}, of(y)); });
        same(y, "odd");
      }
    }
  }
  // Columns of x with gaps and a target whose rows are apart.
  const Twin x = random({24, 9}).transpose(0, 1);
  const Twin w = random({16, 24}, DType::BF16);
  const Twin y = random({9, 40});
  both([&](Backend& b, auto of) { b.fill(of(y), 0.5); });
  const Twin part = y.narrow(1, 8, 16);
  both([&](Backend& b, auto of) { b.linear({of(x), of(w), {}, {}}, of(part)); });
  same(y, "strided");
}

TEST_P(WgpuHot, Moe) {
  for (const DType dtype : kWeights) {
    for (const int64_t tokens : {1, 5, 45}) {
      const int64_t experts = 12, k = 3, hidden = 64, inner = 96;
      if (small() && tokens > 10) {
        continue;
      }
      std::vector<uint32_t> chosen;
      for (int64_t i = 0; i < tokens * k; ++i) {
        chosen.push_back(static_cast<uint32_t>((i / k * 5 + i % k * 4) % experts));
      }
      const Twin x = random({tokens, hidden});
      const Twin ids_of = ids({tokens, k}, chosen);
      const Twin weights = random({tokens, k});
      const Twin gate = random({experts, inner, hidden}, dtype, 0.1f);
      const Twin up = random({experts, inner, hidden}, dtype, 0.1f);
      const Twin down = random({experts, hidden, inner}, dtype, 0.1f);
      const Twin residual = random({tokens, hidden});
      const Twin y = random({tokens, hidden});
      both([&](Backend& b, auto of) {
        MoeArgs args{of(x), of(ids_of), of(weights), of(gate), of(up), of(down), {}};
        if (tokens != 5) {
          args.residual = of(residual);
        }
        b.moe(args, of(y));
      });
      same(y, (std::string(dtype_name(dtype)) + " tokens " + std::to_string(tokens)).c_str());
    }
  }
}

TEST_P(WgpuHot, MoeOfATokenDoesNotDependOnItsNeighbours) {
  const int64_t tokens = 7, experts = 5, k = 2, hidden = 72, inner = 40;
  const Twin gate = random({experts, inner, hidden}, DType::BF16, 0.1f);
  const Twin up = random({experts, inner, hidden}, DType::BF16, 0.1f);
  const Twin down = random({experts, hidden, inner}, DType::BF16, 0.1f);
  const Twin one = random({1, hidden});
  // The same token among others, which share both, one or none of its experts.
  const auto result = [&](int64_t place, uint32_t step) {
    std::vector<uint32_t> chosen;
    for (int64_t t = 0; t < tokens; ++t) {
      const auto first = static_cast<uint32_t>(t == place ? 1 : (1 + t * step) % experts);
      chosen.insert(chosen.end(), {first, (first + 2) % uint32_t(experts)});
    }
    const Twin x = random({tokens, hidden});
    const Twin ids_of = ids({tokens, k}, chosen);
    const Twin weights = values({tokens, k}, std::vector<float>(size_t(tokens * k), 0.5f));
    const Twin y = random({tokens, hidden});
    gpu().copy(one.gpu, x.narrow(0, place, 1).gpu);
    gpu().moe({x.gpu, ids_of.gpu, weights.gpu, gate.gpu, up.gpu, down.gpu, {}}, y.gpu);
    std::vector<float> all = read<float>(gpu(), y.gpu);
    return std::vector<float>(all.begin() + place * hidden, all.begin() + (place + 1) * hidden);
  };
  const std::vector<float> expected = result(0, 1);
  EXPECT_EQ(result(3, 0), expected);
  EXPECT_EQ(result(6, 3), expected);
  EXPECT_EQ(result(5, 2), expected);
}

TEST_P(WgpuHot, MoeOddSizes) {
  for (const int64_t tokens : {2, 40}) {
    const int64_t experts = 5, k = 2, hidden = 19, inner = 33;
    std::vector<uint32_t> chosen;
    for (int64_t i = 0; i < tokens * k; ++i) {
      chosen.push_back(i % 2 == 0 ? 4 : uint32_t(i / 2) % 4);
    }
    const Twin x = random({tokens, hidden});
    const Twin ids_of = ids({tokens, k}, chosen);
    const Twin weights = random({tokens, k});
    const Twin gate = random({experts, inner, hidden}, DType::BF16);
    const Twin up = random({experts, inner, hidden}, DType::BF16);
    const Twin down = random({experts, hidden, inner}, DType::BF16);
    const Twin y = random({tokens, hidden});
    both([&](Backend& b, auto of) {
      b.moe({of(x), of(ids_of), of(weights), of(gate), of(up), of(down), {}}, of(y));
    });
    same(y, "odd moe");
  }
}

TEST_P(WgpuHot, MoeRoute) {
  for (const auto& [tokens, experts, k] :
       {std::array<int64_t, 3>{3, 8, 2}, {4, 128, 8}, {2, 1000, 64}, {1, 3, 3}}) {
    for (const bool normalize : {true, false}) {
      std::vector<float> data(size_t(tokens * experts));
      for (float& v : data) {
        v = float(int(random_() % 41) - 20) * 0.25f;  // many equal ones
      }
      const Twin logits = values({tokens, experts}, data);
      const Twin chosen = ids({tokens, k}, std::vector<uint32_t>(size_t(tokens * k), 9999));
      const Twin weights = random({tokens, k});
      both([&](Backend& b, auto of) {
        b.moe_route({of(logits), normalize}, of(chosen), of(weights));
      });
      same(weights, "weights");
      EXPECT_EQ(read<uint32_t>(cpu().backend(), chosen.cpu), read<uint32_t>(gpu(), chosen.gpu));
    }
  }
}

struct AttentionCase {
  int64_t tokens, heads, kv_heads, dim, page, keys;
  DType dtype;
};

TEST_P(WgpuHot, Attention) {
  const AttentionCase cases[] = {
      {3, 8, 2, 16, 4, 30, DType::F32},     {2, 16, 1, 128, 16, 70, DType::BF16},
      {5, 4, 4, 64, 64, 40, DType::BF16},   {2, 6, 2, 80, 5, 33, DType::F32},
      {2, 12, 1, 256, 8, 20, DType::BF16},  {3, 2, 1, 18, 3, 12, DType::BF16},
      {2, 3, 3, 7, 4, 21, DType::BF16},     {2, 4, 2, 32, 16, 900, DType::F32},
      {1, 8, 1, 64, 64, 700, DType::BF16},  {40, 8, 2, 32, 16, 60, DType::BF16},
      {70, 2, 2, 24, 16, 90, DType::F32},   {37, 4, 1, 128, 64, 50, DType::F32},
      {33, 2, 1, 256, 64, 40, DType::BF16}, {35, 3, 1, 7, 4, 20, DType::BF16}};
  for (const AttentionCase& c : cases) {
    const int64_t max_pages = (c.keys + c.page - 1) / c.page;
    const int64_t sequences = 2;
    const Shape cache{max_pages * sequences, c.kv_heads, c.page, c.dim};
    if (small() && (dtype_bytes(c.dtype, cache.elements()) > 16384 ||
                    c.tokens * c.heads * c.dim * 4 > 16384)) {
      continue;
    }
    const Twin q = random({c.tokens, c.heads, c.dim}, DType::F32, 2.0f);
    const Twin k = random(cache, c.dtype);
    const Twin v = random(cache, c.dtype);
    std::vector<uint32_t> order(size_t(max_pages * sequences));
    std::iota(order.begin(), order.end(), 0u);
    std::shuffle(order.begin(), order.end(), random_);
    const Twin pages = ids({sequences, max_pages}, order);
    std::vector<uint32_t> spans;
    for (int64_t t = 0; t < c.tokens; ++t) {
      const uint32_t first = t % 3 == 1 ? uint32_t(c.keys) / 3 : 0;
      const uint32_t end = t % 7 == 6 ? first : uint32_t(c.keys - t * c.keys / (2 * c.tokens));
      spans.insert(spans.end(), {first, std::max(first, end), t * 5 < c.tokens * 2 ? 0u : 1u});
    }
    const Twin span = ids({c.tokens, 3}, spans);
    const Twin y = random({c.tokens, c.heads, c.dim});
    both([&](Backend& b, auto of) {
      b.attention(
          {of(q), of(k), of(v), of(span), of(pages), 1.0f / std::sqrt(float(c.dim)), c.keys},
          of(y));
    });
    same(y, ("attention dim " + std::to_string(c.dim) + " keys " + std::to_string(c.keys)).c_str());
  }
}

TEST_P(WgpuHot, AttentionOfNothingIsZero) {
  const Twin q = random({2, 4, 16});
  const Twin cache = random({2, 2, 8, 16});
  const Twin span = ids({2, 3}, std::vector<uint32_t>{0, 0, 0, 5, 5, 0});
  const Twin pages = ids({1, 2}, std::vector<uint32_t>{0, 1});
  const Twin y = random({2, 4, 16});
  gpu().attention({q.gpu, cache.gpu, cache.gpu, span.gpu, pages.gpu, 1.0f, 600}, y.gpu);
  for (const float v : read<float>(gpu(), y.gpu)) {
    EXPECT_EQ(v, 0.0f);
  }
}

TEST_P(WgpuHot, KvWrite) {
  for (const DType dtype : {DType::F32, DType::BF16}) {
    for (const int64_t dim : {16, 5}) {
      const Twin x = random({4, 3, dim + 2}).narrow(2, 1, dim);
      const Twin slots = ids({4}, std::vector<uint32_t>{6, 0, 7, 11});
      const Twin cache = random({3, 3, 4, dim}, dtype);
      const Twin y = random({3, 3, 4, dim});
      both([&](Backend& b, auto of) {
        b.kv_write(of(x), of(slots), of(cache));
        b.copy(of(cache), of(y));
      });
      EXPECT_EQ(read<float>(cpu().backend(), y.cpu), read<float>(gpu(), y.gpu));
    }
  }
}

TEST_P(WgpuHot, Rope) {
  for (const bool interleaved : {false, true}) {
    for (const bool norm : {false, true}) {
      const int64_t dim = interleaved ? 10 : 128;
      const Twin x = random({5, 3, dim + 4}).narrow(2, 2, dim);
      const Twin cos = random({20, dim / 2});
      const Twin sin = random({20, dim / 2});
      const Twin positions = ids({5}, std::vector<uint32_t>{3, 0, 19, 7, 7});
      const Twin weight = random({dim}, norm && interleaved ? DType::F32 : DType::BF16);
      const Twin y = random({5, 3, dim});
      both([&](Backend& b, auto of) {
        RopeArgs args{of(x), of(cos), of(sin), of(positions), interleaved, {}, 1e-6f};
        if (norm) {
          args.norm_weight = of(weight);
        }
        b.rope(args, of(y));
      });
      same(y, "rope");
    }
  }
}

TEST_P(WgpuHot, Norms) {
  for (const DType dtype : kFloats) {
    for (const int64_t cols : {1, 7, 300}) {
      const Twin x = random({2, 3, cols + 1}).narrow(2, 1, cols);
      const Twin weight = random({cols + 1}, dtype).narrow(0, 1, cols);
      const Twin bias = random({cols}, dtype);
      const Twin y = random({2, 3, cols});
      both([&](Backend& b, auto of) { b.rms_norm(of(x), of(weight), 1e-6f, of(y)); });
      same(y, "rms_norm");
      both([&](Backend& b, auto of) { b.layer_norm(of(x), of(weight), of(bias), 1e-5f, of(y)); });
      same(y, "layer_norm");
    }
  }
}

TEST_P(WgpuHot, Softmax) {
  const float inf = std::numeric_limits<float>::infinity();
  for (const int64_t cols : {1, 33, 700}) {
    std::vector<float> data(size_t(4 * cols));
    for (size_t i = 0; i < data.size(); ++i) {
      data[i] = float(int(random_() % 2000) - 1000) * 0.01f;
      const size_t row = i / size_t(cols);
      data[i] = row == 1 && i % 3 == 0 ? -inf
                : row == 2             ? -inf
                : row == 3             ? data[i] * 1e37f
                                       : data[i];
    }
    const Twin x = values({4, cols}, data);
    const Twin y = random({4, cols});
    both([&](Backend& b, auto of) { b.softmax(of(x), of(y)); });
    same(y, "softmax");
  }
}

TEST_P(WgpuHot, ManyRows) {
  if (small()) {
    GTEST_SKIP() << "one tensor of many rows exceeds a binding of 16 KiB";
  }
  // One workgroup a token: more than WebGPU allows in one direction of a grid.
  const int64_t tokens = 65600;
  const Twin x = random({tokens, 1, 2});
  const Twin cos = random({3, 1});
  const Twin sin = random({3, 1});
  std::vector<uint32_t> rows(size_t{65600});
  for (uint32_t i = 0; i < rows.size(); ++i) {
    rows[i] = i % 3;
  }
  const Twin positions = ids({tokens}, rows);
  const Twin y = random({tokens, 1, 2});
  both([&](Backend& b, auto of) {
    b.rope({of(x), of(cos), of(sin), of(positions), false, {}, 0.0f}, of(y));
  });
  same(y, "rope of many tokens");
}

TEST_P(WgpuHot, SegmentedActivationsAreRefused) {
  if (!small()) {
    GTEST_SKIP() << "only a small binding segments a small tensor";
  }
  const Twin x = random({80, 64});
  const Twin y = random({80, 64});
  EXPECT_THROW(gpu().softmax(x.gpu, y.gpu), Error);
}

TEST_P(WgpuHot, Swiglu) {
  const Twin both_of = random({7, 2 * 37}, DType::F32, 4.0f);
  const Twin gate = both_of.narrow(1, 0, 37);
  const Twin up = both_of.narrow(1, 37, 37);
  const Twin y = random({7, 37});
  both([&](Backend& b, auto of) { b.swiglu(of(gate), of(up), of(y)); });
  same(y, "swiglu");
}

TEST_P(WgpuHot, Matmul) {
  for (const DType da : kFloats) {
    for (const DType db : kFloats) {
      const Twin a = random({2, 3, 17, 21}, da);
      const Twin b = random({2, 3, 29, 21}, db).transpose(2, 3);
      const Twin y = random({2, 3, 17, 29});
      both([&](Backend& backend, auto of) { backend.matmul(of(a), of(b), of(y)); });
      same(y, "matmul");
    }
  }
  const Twin a = random({40, 1});
  const Twin b = random({1, 5});
  const Twin y = random({40, 5});
  both([&](Backend& backend, auto of) { backend.matmul(of(a), of(b), of(y)); });
  same(y, "outer product");
}

TEST_P(WgpuHot, GatherRows) {
  for (const DType dtype : kWeights) {
    const int64_t cols = is_quantized(dtype) ? 96 : 37;
    const Twin table = random({150, cols}, dtype);
    const Twin rows = ids({6}, std::vector<uint32_t>{3, 149, 0, 77, 3, 100});
    const Twin y = random({6, cols});
    both([&](Backend& b, auto of) { b.gather_rows(of(table), of(rows), of(y)); });
    same(y, "rows as F32");
    if (is_float(dtype)) {
      const Twin raw = random({6, cols}, dtype);
      both([&](Backend& b, auto of) {
        b.gather_rows(of(table), of(rows), of(raw));
        b.copy(of(raw), of(y));
      });
      same(y, "rows unchanged");
    }
  }
  const Twin table = random({4, 3});
  const Twin outside = ids({2}, std::vector<uint32_t>{4, 1});
  const Twin y = random({2, 3});
  gpu().gather_rows(table.gpu, outside.gpu, y.gpu);
  const auto got = read<float>(gpu(), y.gpu);
  const auto all = read<float>(cpu().backend(), table.cpu);
  EXPECT_EQ(got, (std::vector<float>{0, 0, 0, all[3], all[4], all[5]}));
}

// The ordinary device is left to the parity table unless asked for: compiling for a software
// adapter is what takes the time.
std::vector<bool> devices_under_test() {
  return std::getenv("CANDELA_HOT_ALL") == nullptr ? std::vector<bool>{true}
                                                   : std::vector<bool>{false, true};
}

INSTANTIATE_TEST_SUITE_P(Devices,
                         WgpuHot,
                         testing::ValuesIn(devices_under_test()),
                         [](const auto& device) {
                           return device.param ? "SmallestLimits" : "Ordinary";
                         });

}  // namespace
}  // namespace candela
