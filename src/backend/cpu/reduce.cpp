#include <limits>

#include "backend/cpu/cpu_backend.h"
#include "backend/cpu/loops.h"
#include "backend/cpu/storage.h"

namespace candela::cpu {

namespace {

float reduce_row(ReduceKind kind, const float* x, int64_t n) {
  switch (kind) {
    case ReduceKind::sum:
    case ReduceKind::mean: {
      double sum = 0.0;
      for (int64_t i = 0; i < n; ++i) {
        sum += static_cast<double>(x[i]);
      }
      return static_cast<float>(kind == ReduceKind::mean ? sum / static_cast<double>(n) : sum);
    }
    case ReduceKind::max: {
      float best = -std::numeric_limits<float>::infinity();
      for (int64_t i = 0; i < n; ++i) {
        best = x[i] > best ? x[i] : best;
      }
      return best;
    }
    case ReduceKind::min: {
      float best = std::numeric_limits<float>::infinity();
      for (int64_t i = 0; i < n; ++i) {
        best = x[i] < best ? x[i] : best;
      }
      return best;
    }
  }
  return 0.0f;
}

/// Index of the first best element; 2^32 - 1 if one is NaN.
uint32_t best_of(ReduceKind kind, const float* x, int64_t n) {
  int64_t best = 0;
  bool valid = true;
  for (int64_t i = 0; i < n; ++i) {
    const bool better = kind == ReduceKind::min ? x[i] < x[best] : x[i] > x[best];
    best = better ? i : best;
    valid = valid && x[i] == x[i];
  }
  return valid ? static_cast<uint32_t>(best) : std::numeric_limits<uint32_t>::max();
}

/// Calls `body(row, floats)` for every row of x over the last dimension.
template <typename Body>
void for_rows(ThreadPool& pool, const char* op, const View& x, Body&& body) {
  const std::byte* from = input(x, op);
  const int64_t n = x.dim(-1);
  const int64_t stride = x.layout.stride(-1);
  pool.parallel_for(row_count(x.layout), row_grain(n), [&](int64_t begin, int64_t end) {
    std::vector<float> buffer(static_cast<size_t>(n));
    for (int64_t row = begin; row < end; ++row) {
      body(row, floats_of(op, x.dtype, from, row_offset(x.layout, row), stride, n, buffer.data()));
    }
  });
}

}  // namespace

void CpuBackend::reduce(ReduceKind kind, const View& x, const View& y) {
  count();
  const char* op = name_of(kind);
  if (y.dtype != DType::F32) {
    fail_dtype(op, y.dtype);
  }
  auto* to = reinterpret_cast<float*>(output(y, op));
  for_rows(pool_, op, x, [&](int64_t row, const float* values) {
    to[element_offset(y.layout, row)] = reduce_row(kind, values, x.dim(-1));
  });
}

void CpuBackend::arg_reduce(ReduceKind kind, const View& x, const View& y) {
  count();
  const char* op = kind == ReduceKind::min ? "argmin" : "argmax";
  if (y.dtype != DType::U32) {
    fail_dtype(op, y.dtype);
  }
  auto* to = reinterpret_cast<uint32_t*>(output(y, op));
  for_rows(pool_, op, x, [&](int64_t row, const float* values) {
    to[element_offset(y.layout, row)] = best_of(kind, values, x.dim(-1));
  });
}

void CpuBackend::cumsum(const View& x, const View& y) {
  count();
  std::byte* to = output(y, "cumsum");
  for_rows(pool_, "cumsum", x, [&](int64_t row, const float* values) {
    FloatRow out("cumsum", y, to);
    const int64_t offset = row_offset(y.layout, row);
    float* sums = out.at(offset);
    double sum = 0.0;
    for (int64_t i = 0; i < x.dim(-1); ++i) {
      sum += static_cast<double>(values[i]);
      sums[i] = static_cast<float>(sum);
    }
    out.done(offset);
  });
}

}  // namespace candela::cpu
