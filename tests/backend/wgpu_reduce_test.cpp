#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <random>

#include "backend/cpu/cpu_backend.h"
#include "wgpu_fixture.h"

namespace candela::wgpu {
namespace {

Backend& cpu_backend() {
  static const std::shared_ptr<Backend> backend = make_cpu_backend(2);
  return *backend;
}

View fresh(Backend& backend, const Shape& shape, DType dtype = DType::F32) {
  return candela::scratch(backend, shape, dtype);
}

View floats_of(Backend& backend,
               const std::vector<float>& values,
               const Shape& shape,
               DType dtype = DType::F32) {
  const View view = fresh(backend, shape);
  backend.upload(view.storage, 0, std::as_bytes(std::span(values)));
  if (dtype == DType::F32) {
    return view;
  }
  const View out = fresh(backend, shape, dtype);
  backend.copy(view, out);
  return out;
}

std::vector<float> numbers(int64_t count, uint32_t seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal(0.0f, 1.0f);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) {
    value = normal(engine);
  }
  return values;
}

/// Elements of any view in row-major order.
template <typename T>
std::vector<T> elements(Backend& backend, const View& view) {
  const DType dtype = std::is_same_v<T, float> ? DType::F32 : DType::U32;
  const View gapless = fresh(backend, view.shape(), dtype);
  backend.copy(view, gapless);
  std::vector<T> out(static_cast<size_t>(view.elements()));
  backend.download(gapless.storage, 0, std::as_writable_bytes(std::span(out)));
  return out;
}

View part(const View& view, int axis, int64_t start, int64_t length) {
  return {view.storage, view.layout.narrow(axis, start, length), view.dtype};
}

View turned(const View& view, int a, int b) {
  return {view.storage, view.layout.transpose(a, b), view.dtype};
}

void expect_near(const std::vector<float>& got, const std::vector<float>& want, float relative) {
  ASSERT_EQ(got.size(), want.size());
  float scale = 1e-6f;
  for (const float value : want) {
    scale = std::max(scale, std::fabs(value));
  }
  size_t wrong = 0;
  for (size_t i = 0; i < got.size() && wrong < 5; ++i) {
    if (!(std::fabs(got[i] - want[i]) <= relative * scale)) {
      ADD_FAILURE() << "element " << i << ": " << got[i] << ", expected " << want[i];
      ++wrong;
    }
  }
}

/// What `run` gives on both backends.
void expect_same(const std::function<std::vector<float>(Backend&)>& run, float relative) {
  expect_near(run(test_backend()), run(cpu_backend()), relative);
}

void expect_same_ids(const std::function<std::vector<uint32_t>(Backend&)>& run) {
  EXPECT_EQ(run(test_backend()), run(cpu_backend()));
}

TEST(WgpuReduce, GivesTheHandWorkedValues) {
  Backend& backend = test_backend();
  const View x = floats_of(backend, {1, -2, 3, 4, -5, 6}, {2, 3});
  const View y = fresh(backend, {2});
  backend.reduce(ReduceKind::sum, x, y);
  EXPECT_EQ(elements<float>(backend, y), (std::vector<float>{2, 5}));
  backend.reduce(ReduceKind::max, x, y);
  EXPECT_EQ(elements<float>(backend, y), (std::vector<float>{3, 6}));
  backend.reduce(ReduceKind::min, x, y);
  EXPECT_EQ(elements<float>(backend, y), (std::vector<float>{-2, -5}));
  backend.reduce(ReduceKind::mean, x, y);
  expect_near(elements<float>(backend, y), {2.0f / 3, 5.0f / 3}, 1e-6f);
  backend.reduce(ReduceKind::sum, part(x, 1, 0, 0), y);
  EXPECT_EQ(elements<float>(backend, y), (std::vector<float>{0, 0}));
}

TEST(WgpuReduce, AgreesForAllKindsLengthsTypesAndLayouts) {
  for (const ReduceKind kind :
       {ReduceKind::sum, ReduceKind::mean, ReduceKind::max, ReduceKind::min}) {
    for (const int64_t cols : {1, 32, 33, 257, 4097, 9000}) {
      for (const DType dtype : {DType::F32, DType::BF16, DType::F16}) {
        SCOPED_TRACE(std::string(name_of(kind)) + " of " + std::to_string(cols));
        expect_same(
            [&](Backend& backend) {
              const View x =
                  floats_of(backend, numbers(6 * (cols + 1), 7), {2, 3, cols + 1}, dtype);
              const View y = fresh(backend, {3, 2});
              backend.reduce(kind, part(turned(x, 0, 1), 2, 1, cols), y);
              return elements<float>(backend, y);
            },
            2e-6f);
      }
    }
  }
}

TEST(WgpuReduce, ColumnsAreReducedIntoAColumn) {
  expect_same(
      [&](Backend& backend) {
        const View x = floats_of(backend, numbers(100 * 7, 9), {100, 7});
        const View y = fresh(backend, {7, 2});
        const View column{y.storage, y.layout.narrow(1, 1, 1).squeeze(1), y.dtype};
        backend.reduce(ReduceKind::sum, turned(x, 0, 1), column);
        return elements<float>(backend, column);
      },
      2e-6f);
}

TEST(WgpuReduce, LongSumsKeepSixDigits) {
  Backend& backend = test_backend();
  std::vector<float> values(152064);
  double exact = 0;
  std::mt19937 engine(3);
  for (float& value : values) {
    value = std::uniform_real_distribution<float>(0.0f, 1.0f)(engine);
    exact += static_cast<double>(value);
  }
  const View x = floats_of(backend, values, {1, 152064});
  const View y = fresh(backend, {1});
  backend.reduce(ReduceKind::sum, x, y);
  EXPECT_NEAR(elements<float>(backend, y)[0] / exact, 1.0, 1e-6);
}

TEST(WgpuReduce, ManyRowsExceedOneDirectionOfTheGrid) {
  Backend& backend = test_backend();
  constexpr int64_t kRows = 70000;
  std::vector<float> values(static_cast<size_t>(kRows * 33));
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = i % 33 == 32 ? static_cast<float>(i / 33) : 0.0f;
  }
  const View x = floats_of(backend, values, {kRows, 33});
  const View sums = fresh(backend, {kRows});
  const View places = fresh(backend, {kRows}, DType::U32);
  backend.reduce(ReduceKind::sum, x, sums);
  backend.arg_reduce(ReduceKind::max, x, places);
  const auto got = elements<float>(backend, sums);
  const auto at = elements<uint32_t>(backend, places);
  for (const size_t row : {size_t{0}, size_t{1}, size_t{65535}, size_t{65536}, size_t{69999}}) {
    EXPECT_EQ(got[row], static_cast<float>(row));
    EXPECT_EQ(at[row], row == 0 ? 0u : 32u);
  }
}

TEST(WgpuReduce, InfinitiesAreOrdinaryExtremes) {
  Backend& backend = test_backend();
  const float inf = std::numeric_limits<float>::infinity();
  const View x = floats_of(backend, {-inf, -inf, 1, inf, -inf, 2}, {3, 2});
  const View y = fresh(backend, {3});
  backend.reduce(ReduceKind::max, x, y);
  EXPECT_EQ(elements<float>(backend, y), (std::vector<float>{-inf, inf, 2}));
  backend.reduce(ReduceKind::min, x, y);
  EXPECT_EQ(elements<float>(backend, y), (std::vector<float>{-inf, 1, -inf}));
}

TEST(WgpuArgReduce, TheFirstOfEqualsWins) {
  Backend& backend = test_backend();
  const View x = floats_of(backend, {0.0f, -0.0f, -1, 3, 5, 5, -7, -7, -7}, {3, 3});
  const View y = fresh(backend, {3}, DType::U32);
  backend.arg_reduce(ReduceKind::max, x, y);
  EXPECT_EQ(elements<uint32_t>(backend, y), (std::vector<uint32_t>{0, 1, 0}));
  backend.arg_reduce(ReduceKind::min, x, y);
  EXPECT_EQ(elements<uint32_t>(backend, y), (std::vector<uint32_t>{2, 0, 0}));
}

TEST(WgpuArgReduce, ARowWithANanIsMarked) {
  Backend& backend = test_backend();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const int64_t cols : {5, 5000}) {
    std::vector<float> values = numbers(3 * cols, 5);
    values[static_cast<size_t>(2 * cols - 1)] = nan;
    values[static_cast<size_t>(2 * cols + 1)] = std::copysign(nan, -1.0f);
    const View x = floats_of(backend, values, {3, cols});
    const View y = fresh(backend, {3}, DType::U32);
    for (const ReduceKind kind : {ReduceKind::max, ReduceKind::min}) {
      backend.arg_reduce(kind, x, y);
      const auto got = elements<uint32_t>(backend, y);
      EXPECT_LT(got[0], static_cast<uint32_t>(cols));
      EXPECT_EQ(got[1], 0xffffffffu);
      EXPECT_EQ(got[2], 0xffffffffu);
    }
  }
}

TEST(WgpuArgReduce, AgreesOnLogitsAndStridedHalves) {
  for (const ReduceKind kind : {ReduceKind::max, ReduceKind::min}) {
    expect_same_ids([&](Backend& backend) {
      std::vector<float> values = numbers(2 * 152064, 11);
      values[70000] = values[100000] = 9.0f;  // equal extremes in different chunks
      values[60000] = values[90001] = -9.0f;
      const View x = floats_of(backend, values, {2, 152064});
      const View y = fresh(backend, {2}, DType::U32);
      backend.arg_reduce(kind, x, y);
      return elements<uint32_t>(backend, y);
    });
    expect_same_ids([&](Backend& backend) {
      const View x = floats_of(backend, numbers(3 * 40 * 5, 13), {3, 40, 5}, DType::BF16);
      const View y = fresh(backend, {3, 4}, DType::U32);
      backend.arg_reduce(kind, part(turned(x, 1, 2), 1, 1, 4), y);
      return elements<uint32_t>(backend, y);
    });
  }
}

TEST(WgpuCumsum, AgreesAcrossBlocksAndStrides) {
  Backend& backend = test_backend();
  const View y = fresh(backend, {4});
  backend.cumsum(floats_of(backend, {1, 2, 3, -4}, {4}), y);
  EXPECT_EQ(elements<float>(backend, y), (std::vector<float>{1, 3, 6, 2}));
  for (const int64_t cols : {1, 3, 1024, 1025, 5000}) {
    expect_same(
        [&](Backend& b) {
          const View x = floats_of(b, numbers(2 * cols * 3, 17), {cols, 2, 3});
          const View out = fresh(b, {2, 2, cols});
          const View from = {x.storage, part(x, 2, 1, 2).layout.transpose(0, 2), x.dtype};
          b.cumsum(from, out);
          return elements<float>(b, out);
        },
        3e-6f);
  }
}

TEST(WgpuTopK, TheLowerIndexComesFirstAmongEquals) {
  Backend& backend = test_backend();
  const View x = floats_of(backend, {1, 5, 5, 2, 5, -1}, {1, 6});
  const View values = fresh(backend, {1, 4});
  const View places = fresh(backend, {1, 4}, DType::U32);
  backend.top_k(x, values, places);
  EXPECT_EQ(elements<float>(backend, values), (std::vector<float>{5, 5, 5, 2}));
  EXPECT_EQ(elements<uint32_t>(backend, places), (std::vector<uint32_t>{1, 2, 4, 3}));
}

TEST(WgpuTopK, AgreesForShortLongAndRepetitiveRows) {
  struct Case {
    int64_t rows, cols, k;
    int levels;  // distinct values; 0: all
  };
  for (const Case& test :
       {Case{3, 1, 1, 0}, Case{5, 128, 8, 0}, Case{2, 64, 64, 3}, Case{2, 2049, 64, 5},
        Case{3, 5000, 50, 0}, Case{1, 152064, 64, 0}, Case{1, 152064, 20, 4}, Case{300, 7, 2, 3}}) {
    const auto run = [&](Backend& backend) {
      std::vector<float> values = numbers(test.rows * (test.cols + 1), 19);
      for (float& value : values) {
        value = test.levels == 0 ? value
                                 : std::fmod(std::fabs(std::floor(value * 100)),
                                             static_cast<float>(test.levels)) -
                                       1.0f;
      }
      const View x = floats_of(backend, values, {test.rows, test.cols + 1});
      const View best = fresh(backend, {test.rows, test.k});
      const View places = fresh(backend, {test.rows, test.k}, DType::U32);
      backend.top_k(part(x, 1, 1, test.cols), best, places);
      return std::pair(elements<float>(backend, best), elements<uint32_t>(backend, places));
    };
    SCOPED_TRACE(test.cols);
    EXPECT_EQ(run(test_backend()), run(cpu_backend()));
  }
}

TEST(WgpuTopK, RefusesMoreThanItCanHold) {
  Backend& backend = test_backend();
  const View x = fresh(backend, {1, 100});
  expect_error(ErrorKind::InvalidArgument, "top_k", [&] {
    backend.top_k(x, fresh(backend, {1, 65}), fresh(backend, {1, 65}, DType::U32));
  });
}

}  // namespace
}  // namespace candela::wgpu
