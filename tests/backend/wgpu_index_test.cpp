#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <random>

#include "backend/cpu/cpu_backend.h"
#include "backend/philox.h"
#include "wgpu_fixture.h"

namespace candela::wgpu {
namespace {

Backend& cpu_backend() {
  static const std::shared_ptr<Backend> backend = make_cpu_backend(2);
  return *backend;
}

View zeros(Backend& backend, const Shape& shape, DType dtype = DType::F32, double value = 0) {
  const View view = candela::scratch(backend, shape, dtype);
  backend.fill(view, value);
  return view;
}

View floats_of(Backend& backend, int64_t seed, const Shape& shape, DType dtype = DType::F32) {
  std::mt19937 engine(static_cast<uint32_t>(seed));
  std::normal_distribution<float> normal(0.0f, 1.0f);
  std::vector<float> values(static_cast<size_t>(shape.elements()));
  for (float& value : values) {
    value = normal(engine);
  }
  const View view = zeros(backend, shape);
  backend.upload(view.storage, 0, std::as_bytes(std::span(values)));
  const View out = zeros(backend, shape, dtype);
  backend.copy(view, out);
  return out;
}

View ids_of(Backend& backend, const std::vector<uint32_t>& values, const Shape& shape) {
  const View view = zeros(backend, shape, DType::U32);
  backend.upload(view.storage, 0, std::as_bytes(std::span(values)));
  return view;
}

std::vector<float> read(Backend& backend, const View& view) {
  const View gapless = zeros(backend, view.shape());
  backend.copy(view, gapless);
  std::vector<float> out(static_cast<size_t>(view.elements()));
  backend.download(gapless.storage, 0, std::as_writable_bytes(std::span(out)));
  return out;
}

View part(const View& view, int axis, int64_t start, int64_t length) {
  return {view.storage, view.layout.narrow(axis, start, length), view.dtype};
}

View turned(const View& view, int a, int b) {
  return {view.storage, view.layout.transpose(a, b), view.dtype};
}

using Run = std::function<std::vector<float>(Backend&)>;

void expect_same(const Run& run, float absolute) {
  const auto got = run(test_backend());
  const auto want = run(cpu_backend());
  ASSERT_EQ(got.size(), want.size());
  size_t wrong = 0;
  for (size_t i = 0; i < got.size() && wrong < 5; ++i) {
    if (!(std::fabs(got[i] - want[i]) <= absolute)) {
      ADD_FAILURE() << "element " << i << ": " << got[i] << ", expected " << want[i];
      ++wrong;
    }
  }
}

constexpr DType kFloats[] = {DType::F32, DType::BF16, DType::F16};

TEST(WgpuWriteRows, KeepsNeighboursThatShareWords) {
  for (const DType from : kFloats) {
    for (const DType to : kFloats) {
      expect_same(
          [&](Backend& backend) {
            // Rows of three from an odd offset: neighbours share words.
            const View table = zeros(backend, {9, 5, 1}, to, 7.0);
            const View x = floats_of(backend, 3, {4, 4, 1}, from);
            const View ids = ids_of(backend, {9, 4, 2, 3, 7}, {5});
            backend.write_rows(part(x, 1, 1, 3), part(ids, 0, 1, 4), part(table, 1, 1, 3));
            return read(backend, table);
          },
          0.0f);
    }
  }
}

TEST(WgpuWriteRows, SkipsIdsOutside) {
  Backend& backend = test_backend();
  const View y = zeros(backend, {2, 2}, DType::F32, 1.0);
  const View x = zeros(backend, {2, 2}, DType::F32, 5.0);
  backend.write_rows(x, ids_of(backend, {2, 1}, {2}), y);
  EXPECT_EQ(read(backend, y), (std::vector<float>{1, 1, 5, 5}));
}

TEST(WgpuGather, AgreesAlongEveryAxis) {
  for (const DType dtype : kFloats) {
    for (int axis = 0; axis < 3; ++axis) {
      expect_same(
          [&](Backend& backend) {
            const View x = turned(floats_of(backend, 5, {5, 3, 3}, dtype), 0, 2);  // [3, 3, 5]
            Shape shape{3, 3, 5};
            shape[axis] = 7;
            std::vector<uint32_t> ids(static_cast<size_t>(shape.elements()));
            for (size_t i = 0; i < ids.size(); ++i) {
              ids[i] = static_cast<uint32_t>(i * 7 % 3);
            }
            const View y = zeros(backend, shape, dtype);
            backend.gather(x, axis, ids_of(backend, ids, shape), y);
            return read(backend, y);
          },
          0.0f);
    }
  }
}

TEST(WgpuGather, GivesTheHandWorkedValues) {
  Backend& backend = test_backend();
  const View x = zeros(backend, {2, 3});
  const std::vector<float> values = {10, 11, 12, 20, 21, 22};
  backend.upload(x.storage, 0, std::as_bytes(std::span(values)));
  const View y = zeros(backend, {2, 2});
  backend.gather(x, 1, ids_of(backend, {2, 0, 1, 1}, {2, 2}), y);
  EXPECT_EQ(read(backend, y), (std::vector<float>{12, 10, 21, 21}));
  const View z = zeros(backend, {3, 1});
  backend.gather(turned(x, 0, 1), 1, ids_of(backend, {1, 0, 1}, {3, 1}), z);
  EXPECT_EQ(read(backend, z), (std::vector<float>{20, 11, 22}));
}

TEST(WgpuScatterAdd, AddsInAscendingOrder) {
  Backend& backend = test_backend();
  const View y = zeros(backend, {3}, DType::F32, 1.0);
  const View x = zeros(backend, {4});
  // (1e8 + 1) - 1e8 is 0 in F32 in this order, 1 in another.
  const std::vector<float> values = {1e8f, 1.0f, -1e8f, 2.0f};
  backend.upload(x.storage, 0, std::as_bytes(std::span(values)));
  backend.scatter_add(x, 0, ids_of(backend, {0, 0, 0, 2}, {4}), y);
  EXPECT_EQ(read(backend, y), (std::vector<float>{0, 1, 3}));
}

TEST(WgpuScatterAdd, AgreesAlongEveryAxis) {
  for (int axis = 0; axis < 3; ++axis) {
    expect_same(
        [&](Backend& b) {
          const View x = turned(floats_of(b, 9, {4, 6, 5}), 0, 1);  // [6, 4, 5]
          std::vector<uint32_t> ids(120);
          for (size_t i = 0; i < ids.size(); ++i) {
            ids[i] = static_cast<uint32_t>(i * i % 4);
          }
          const View y = floats_of(b, 10, {6, 4, 5});
          b.scatter_add(x, axis, ids_of(b, ids, {6, 4, 5}), y);
          return read(b, y);
        },
        1e-5f);
  }
}

TEST(WgpuConv, OneDimensionAgrees) {
  struct Case {
    int64_t stride, dilation, groups, left, right;
  };
  for (const Case& c : {Case{1, 1, 1, 0, 0}, Case{2, 1, 1, 1, 1}, Case{1, 3, 2, 6, 0},
                        Case{3, 2, 4, 2, 5}, Case{1, 1, 4, 2, 0}}) {
    for (const DType dtype : kFloats) {
      expect_same(
          [&](Backend& backend) {
            const View x = turned(floats_of(backend, 1, {2, 17, 4}), 1, 2);
            const View weight = floats_of(backend, 2, {8, 4 / c.groups, 3}, dtype);
            Conv1dArgs args{.x = x, .weight = weight, .bias = floats_of(backend, 3, {8}, dtype)};
            args.stride = c.stride;
            args.dilation = c.dilation;
            args.groups = c.groups;
            args.pad_left = c.left;
            args.pad_right = c.right;
            if (c.stride == 2) {
              args.bias.reset();
            }
            const int64_t time = (17 + c.left + c.right - 2 * c.dilation - 1) / c.stride + 1;
            const View y = zeros(backend, {2, 8, time});
            backend.conv1d(args, y);
            return read(backend, y);
          },
          1e-4f);
    }
  }
}

TEST(WgpuConv, GivesTheHandWorkedValues) {
  Backend& backend = test_backend();
  const View x = zeros(backend, {1, 1, 3});
  const View weight = zeros(backend, {1, 1, 2});
  const std::vector<float> in = {1, 2, 3}, taps = {10, 1};
  backend.upload(x.storage, 0, std::as_bytes(std::span(in)));
  backend.upload(weight.storage, 0, std::as_bytes(std::span(taps)));
  const View y = zeros(backend, {1, 1, 3});
  Conv1dArgs args{.x = x, .weight = weight, .bias = {}};
  args.pad_left = 1;
  backend.conv1d(args, y);
  EXPECT_EQ(read(backend, y), (std::vector<float>{1, 12, 23}));
  const View up = zeros(backend, {1, 1, 5});
  ConvTranspose1dArgs transposed{.x = x, .weight = weight, .bias = {}};
  transposed.stride = 2;
  transposed.trim_left = 1;
  backend.conv_transpose1d(transposed, up);
  EXPECT_EQ(read(backend, up), (std::vector<float>{1, 20, 2, 30, 3}));
}

TEST(WgpuConv, TwoDimensionsAgree) {
  for (const int64_t groups : {1, 2}) {
    expect_same(
        [&](Backend& backend) {
          const View x = floats_of(backend, 4, {2, 4, 9, 7});
          Conv2dArgs args{.x = x,
                          .weight = floats_of(backend, 5, {6, 4 / groups, 3, 2}, DType::BF16),
                          .bias = floats_of(backend, 6, {6})};
          args.groups = groups;
          args.stride_h = 2;
          args.pad_h = 1;
          args.pad_w = 2;
          args.dilation_w = 2;
          const View y = zeros(backend, {2, 6, 5, 9});
          backend.conv2d(args, y);
          return read(backend, y);
        },
        1e-4f);
  }
}

TEST(WgpuConv, TransposedAgrees) {
  struct Case {
    int64_t stride, groups, taps, left, right;
  };
  for (const Case& c :
       {Case{1, 1, 3, 0, 0}, Case{2, 1, 4, 0, 2}, Case{4, 2, 7, 3, 1}, Case{5, 1, 3, 1, 0}}) {
    expect_same(
        [&](Backend& backend) {
          const View x = floats_of(backend, 7, {2, 4, 6});
          ConvTranspose1dArgs args{.x = x,
                                   .weight = floats_of(backend, 8, {4, 6 / c.groups, c.taps}),
                                   .bias = floats_of(backend, 9, {6}, DType::F16)};
          args.stride = c.stride;
          args.groups = c.groups;
          args.trim_left = c.left;
          args.trim_right = c.right;
          const View y = zeros(backend, {2, 6, 5 * c.stride + c.taps - c.left - c.right});
          backend.conv_transpose1d(args, y);
          return read(backend, y);
        },
        1e-4f);
  }
}

TEST(WgpuRandom, UniformNumbersAreThoseOfTheCpu) {
  for (const DType dtype : {DType::F32, DType::BF16, DType::F16}) {
    for (const int64_t start : {0, 1, 3, 8}) {
      expect_same(
          [&](Backend& backend) {
            const View y = zeros(backend, {5000}, dtype, -2.0);
            backend.random(RandomKind::uniform, 0x123456789abcdefULL, 0.0f, 1.0f,
                           part(y, 0, start, 4321));
            return read(backend, y);
          },
          0.0f);
    }
  }
  expect_same(
      [&](Backend& backend) {
        const View y = zeros(backend, {30, 40});
        backend.random(RandomKind::uniform, 5, -3.0f, 4.0f, turned(y, 0, 1));
        return read(backend, y);
      },
      1e-6f);
}

TEST(WgpuRandom, NormalNumbersDifferByRounding) {
  expect_same(
      [&](Backend& backend) {
        const View y = zeros(backend, {20001});
        backend.random(RandomKind::normal, 42, 0.0f, 1.0f, y);
        return read(backend, y);
      },
      2e-6f);
}

TEST(WgpuRandom, SegmentsContinueTheNumbering) {
  WgpuOptions options;
  options.checked = true;
  options.max_binding_bytes = 65536;
  WgpuBackend small(options);
  const int64_t rows = 300, cols = 333;  // odd rows: segments begin at odd elements or not
  for (const DType dtype : {DType::F32, DType::BF16}) {
    const auto bytes = static_cast<uint64_t>(dtype_bytes(dtype, rows * cols));
    const View y{small.allocate(bytes, static_cast<uint64_t>(dtype_bytes(dtype, cols)) * 4, "y"),
                 Layout({rows, cols}), dtype};
    ASSERT_TRUE(y.storage->is_segmented());
    small.random(RandomKind::uniform, 77, 0.0f, 1.0f, y);
    for (const int64_t at : {int64_t{0}, int64_t{40001}, rows * cols - 1}) {
      const float exact =
          philox::uniform(77, static_cast<uint64_t>(at) / 4)[static_cast<size_t>(at % 4)];
      float got = 0;
      if (dtype == DType::F32) {
        small.download(y.storage, static_cast<uint64_t>(at) * 4,
                       std::as_writable_bytes(std::span(&got, 1)));
        EXPECT_EQ(got, exact);
      } else {
        BFloat16 half;
        small.download(y.storage, static_cast<uint64_t>(at) * 2,
                       std::as_writable_bytes(std::span(&half, 1)));
        EXPECT_EQ(half.bits, to_bf16(exact).bits);
      }
    }
  }
}

TEST(WgpuSnakeBeta, AgreesAlsoForLargeArguments) {
  expect_same(
      [&](Backend& backend) {
        const View x = zeros(backend, {2, 5, 37});
        backend.unary(UnaryKind::affine, 20.0f, 0.0f, floats_of(backend, 21, {2, 5, 37}), x);
        const View y = zeros(backend, {2, 5, 37});
        backend.snake_beta(x, floats_of(backend, 22, {5}), floats_of(backend, 23, {5}, DType::BF16),
                           y);
        return read(backend, y);
      },
      2e-4f);
}

}  // namespace
}  // namespace candela::wgpu
