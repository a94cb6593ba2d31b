#include <cmath>

#include "backend/cpu/cpu_backend.h"
#include "backend/cpu/loops.h"
#include "backend/cpu/math.h"
#include "backend/cpu/storage.h"

namespace candela::cpu {

namespace {

using UnaryLoop = void (*)(const float* in, int64_t n, float a, float b, float* out);
using BinaryLoop = void (*)(const float* in1, const float* in2, int64_t n, float* out);

UnaryLoop loop_of(UnaryKind kind) {
  switch (kind) {
#define CANDELA_UNARY(name, cpu, wgsl)                                                        \
  case UnaryKind::name:                                                                       \
    return [](const float* in, int64_t n, [[maybe_unused]] float a, [[maybe_unused]] float b, \
              float* out) {                                                                   \
      for (int64_t i = 0; i < n; ++i) {                                                       \
        const float x = in[i];                                                                \
        out[i] = cpu;                                                                         \
      }                                                                                       \
    };
#define CANDELA_BINARY(name, cpu, wgsl)
#include "backend/elementwise.def"
#undef CANDELA_UNARY
#undef CANDELA_BINARY
  }
  return nullptr;
}

BinaryLoop loop_of(BinaryKind kind) {
  switch (kind) {
#define CANDELA_UNARY(name, cpu, wgsl)
#define CANDELA_BINARY(name, cpu, wgsl)                                    \
  case BinaryKind::name:                                                   \
    return [](const float* in1, const float* in2, int64_t n, float* out) { \
      for (int64_t i = 0; i < n; ++i) {                                    \
        const float x = in1[i];                                            \
        const float y = in2[i];                                            \
        out[i] = cpu;                                                      \
      }                                                                    \
    };
#include "backend/elementwise.def"
#undef CANDELA_UNARY
#undef CANDELA_BINARY
  }
  return nullptr;
}

template <typename T>
T integer_binary(BinaryKind kind, T x, T y) {
  // Unsigned arithmetic, so that overflow wraps as on the GPU.
  const auto u = static_cast<uint32_t>(x);
  const auto v = static_cast<uint32_t>(y);
  switch (kind) {
    case BinaryKind::add:
      return static_cast<T>(u + v);
    case BinaryKind::sub:
      return static_cast<T>(u - v);
    case BinaryKind::mul:
      return static_cast<T>(u * v);
    case BinaryKind::maximum:
      return std::max(x, y);
    default:
      return std::min(x, y);
  }
}

template <typename T>
bool holds(CompareKind kind, T x, T y) {
  switch (kind) {
    case CompareKind::eq:
      return x == y;
    case CompareKind::ne:
      return x != y;
    case CompareKind::lt:
      return x < y;
    case CompareKind::le:
      return x <= y;
    case CompareKind::gt:
      return x > y;
    case CompareKind::ge:
      return x >= y;
  }
  return false;
}

template <typename T, typename Body>
void for_pairs(ThreadPool& pool,
               const std::array<Layout, 3>& layouts,
               const std::byte* data1,
               const std::byte* data2,
               Body&& body) {
  const int64_t s1 = layouts[0].stride(-1);
  const int64_t s2 = layouts[1].stride(-1);
  const int64_t sy = layouts[2].stride(-1);
  const auto* p1 = reinterpret_cast<const T*>(data1);
  const auto* p2 = reinterpret_cast<const T*>(data2);
  pool.parallel_for(layouts[0].elements(), kGrain, [&](int64_t begin, int64_t end) {
    walk_runs(layouts, begin, end, [&](const auto& at, int64_t run) {
      for (int64_t i = 0; i < run; ++i) {
        body(p1[at[0] + i * s1], p2[at[1] + i * s2], at[2] + i * sy);
      }
    });
  });
}

/// Walks chunks of two float inputs converted to F32.
template <typename Body>
void for_float_pairs(ThreadPool& pool,
                     const char* op,
                     const View& x1,
                     const View& x2,
                     const std::array<Layout, 3>& layouts,
                     Body&& body) {
  const std::byte* data1 = input(x1, op);
  const std::byte* data2 = input(x2, op);
  const int64_t s1 = layouts[0].stride(-1);
  const int64_t s2 = layouts[1].stride(-1);
  const int64_t sy = layouts[2].stride(-1);
  pool.parallel_for(layouts[0].elements(), kGrain, [&](int64_t begin, int64_t end) {
    float buffer1[kChunk];
    float buffer2[kChunk];
    walk_runs(layouts, begin, end, [&](const auto& at, int64_t run) {
      for (int64_t i = 0; i < run; i += kChunk) {
        const int64_t n = std::min(kChunk, run - i);
        body(floats_of(op, x1.dtype, data1, at[0] + i * s1, s1, n, buffer1),
             floats_of(op, x2.dtype, data2, at[1] + i * s2, s2, n, buffer2), n, at[2] + i * sy);
      }
    });
  });
}

}  // namespace

void CpuBackend::unary(UnaryKind kind, float a, float b, const View& x, const View& y) {
  count();
  const char* op = name_of(kind);
  const UnaryLoop loop = loop_of(kind);
  const std::byte* from = input(x, op);
  std::byte* to = output(y, op);
  const auto layouts = merged_layouts(x, y);
  const int64_t sx = layouts[0].stride(-1);
  const int64_t sy = layouts[1].stride(-1);
  pool_.parallel_for(x.elements(), kGrain / 4, [&](int64_t begin, int64_t end) {
    float in[kChunk];
    float out[kChunk];
    walk_runs(layouts, begin, end, [&](const auto& at, int64_t run) {
      for (int64_t i = 0; i < run; i += kChunk) {
        const int64_t n = std::min(kChunk, run - i);
        loop(floats_of(op, x.dtype, from, at[0] + i * sx, sx, n, in), n, a, b, out);
        store_floats(op, out, y.dtype, to, at[1] + i * sy, sy, n);
      }
    });
  });
}

void CpuBackend::binary(BinaryKind kind, const View& x1, const View& x2, const View& y) {
  count();
  const char* op = name_of(kind);
  const auto layouts = merged_layouts(x1, x2, y);
  std::byte* to = output(y, op);
  if (is_float(x1.dtype) && is_float(x2.dtype)) {
    const BinaryLoop loop = loop_of(kind);
    const int64_t sy = layouts[2].stride(-1);
    for_float_pairs(pool_, op, x1, x2, layouts,
                    [&](const float* p, const float* q, int64_t n, int64_t at) {
                      float out[kChunk];
                      loop(p, q, n, out);
                      store_floats(op, out, y.dtype, to, at, sy, n);
                    });
    return;
  }
  const bool known = kind != BinaryKind::div && kind != BinaryKind::pow;
  const bool word = x1.dtype == DType::I32 || x1.dtype == DType::U32;
  if (!word || !known || x2.dtype != x1.dtype || y.dtype != x1.dtype) {
    fail_dtype(op, is_float(x1.dtype) ? x2.dtype : x1.dtype);
  }
  const std::byte* data1 = input(x1, op);
  const std::byte* data2 = input(x2, op);
  const auto run = [&]<typename T>(T) {
    auto* out = reinterpret_cast<T*>(to);
    for_pairs<T>(pool_, layouts, data1, data2,
                 [&](T p, T q, int64_t at) { out[at] = integer_binary(kind, p, q); });
  };
  x1.dtype == DType::I32 ? run(int32_t{}) : run(uint32_t{});
}

void CpuBackend::compare(CompareKind kind, const View& x1, const View& x2, const View& y) {
  count();
  const char* op = name_of(kind);
  const auto layouts = merged_layouts(x1, x2, y);
  auto* out = reinterpret_cast<uint32_t*>(output(y, op));
  if (y.dtype != DType::U32) {
    fail_dtype(op, y.dtype);
  }
  if (is_float(x1.dtype) && is_float(x2.dtype)) {
    const int64_t sy = layouts[2].stride(-1);
    for_float_pairs(pool_, op, x1, x2, layouts,
                    [&](const float* p, const float* q, int64_t n, int64_t at) {
                      for (int64_t i = 0; i < n; ++i) {
                        out[at + i * sy] = holds(kind, p[i], q[i]) ? 1u : 0u;
                      }
                    });
    return;
  }
  if (x1.dtype != x2.dtype) {
    fail_dtype(op, x2.dtype);
  }
  const std::byte* data1 = input(x1, op);
  const std::byte* data2 = input(x2, op);
  const auto run = [&]<typename T>(T) {
    for_pairs<T>(pool_, layouts, data1, data2,
                 [&](T p, T q, int64_t at) { out[at] = holds(kind, p, q) ? 1u : 0u; });
  };
  switch (x1.dtype) {
    case DType::U8:
      return run(uint8_t{});
    case DType::I32:
      return run(int32_t{});
    case DType::U32:
      return run(uint32_t{});
    case DType::I64:
      return run(int64_t{});
    default:
      fail_dtype(op, x1.dtype);
  }
}

void CpuBackend::where(const View& condition,
                       const View& on_true,
                       const View& on_false,
                       const View& y) {
  count();
  if (condition.dtype != DType::U32 || is_quantized(y.dtype)) {
    fail_dtype("where", condition.dtype != DType::U32 ? condition.dtype : y.dtype);
  }
  const auto layouts = merged_layouts(condition, on_true, on_false, y);
  const auto* choice = reinterpret_cast<const uint32_t*>(input(condition, "where"));
  const std::byte* data1 = input(on_true, "where");
  const std::byte* data2 = input(on_false, "where");
  std::byte* to = output(y, "where");
  const auto run = [&]<typename T>(T) {
    pool_.parallel_for(y.elements(), kGrain, [&](int64_t begin, int64_t end) {
      walk_runs(layouts, begin, end, [&](const auto& at, int64_t n) {
        for (int64_t i = 0; i < n; ++i) {
          const bool first = choice[at[0] + i * layouts[0].stride(-1)] != 0;
          const auto* from = reinterpret_cast<const T*>(first ? data1 : data2);
          const size_t side = first ? 1 : 2;
          reinterpret_cast<T*>(to)[at[3] + i * layouts[3].stride(-1)] =
              from[at[side] + i * layouts[side].stride(-1)];
        }
      });
    });
  };
  switch (block_bytes(y.dtype)) {
    case 1:
      return run(uint8_t{});
    case 2:
      return run(uint16_t{});
    case 4:
      return run(uint32_t{});
    default:
      return run(uint64_t{});
  }
}

}  // namespace candela::cpu
