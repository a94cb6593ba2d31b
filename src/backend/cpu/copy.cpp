#include <cmath>
#include <limits>

#include "backend/cpu/cpu_backend.h"
#include "backend/cpu/loops.h"
#include "backend/cpu/simd.h"
#include "backend/cpu/storage.h"
#include "base/bf16.h"

namespace candela::cpu {

namespace {

template <typename T>
void store_cast(const float* from, T* to, int64_t stride, int64_t count) {
  constexpr auto kLow = static_cast<double>(std::numeric_limits<T>::min());
  constexpr auto kHigh = static_cast<double>(std::numeric_limits<T>::max());
  for (int64_t i = 0; i < count; ++i) {
    const auto value = static_cast<double>(from[i]);
    T out = 0;  // NaN becomes 0
    if (value >= kHigh) {
      out = std::numeric_limits<T>::max();
    } else if (value <= kLow) {
      out = std::numeric_limits<T>::min();
    } else if (value == value) {
      out = static_cast<T>(value);
    }
    to[i * stride] = out;
  }
}

template <typename T>
void load_integers(
    const std::byte* data, int64_t offset, int64_t stride, int64_t count, int64_t* to) {
  for (int64_t i = 0; i < count; ++i) {
    T value;
    std::memcpy(&value, data + (offset + i * stride) * static_cast<int64_t>(sizeof(T)), sizeof(T));
    to[i] = static_cast<int64_t>(value);
  }
}

template <typename T>
void store_integers(
    const int64_t* from, std::byte* data, int64_t offset, int64_t stride, int64_t count) {
  auto* to = reinterpret_cast<T*>(data) + offset;
  for (int64_t i = 0; i < count; ++i) {
    to[i * stride] = static_cast<T>(from[i]);  // integers wrap, as on the GPU
  }
}

/// Elements offset, offset + stride, ... of a storage that may be segmented.
struct Source {
  const CpuStorage& storage;
  DType dtype;

  /// Memory of the element at `offset`; `count` shrinks to what lies in the same segment.
  const std::byte* at(int64_t offset, int64_t stride, int64_t& count) const {
    const HostPiece piece = storage.from(static_cast<uint64_t>(byte_offset(dtype, offset)));
    const auto left =
        static_cast<int64_t>(piece.size()) / block_bytes(dtype) * block_elements(dtype);
    if (stride > 0 && (count - 1) * stride >= left) {
      count = (left - 1) / stride + 1;
    }
    return piece.data();
  }
};

void load_integer_run(
    DType dtype, const std::byte* from, int64_t stride, int64_t count, int64_t* to) {
  switch (dtype) {
    case DType::U8:
      return load_integers<uint8_t>(from, 0, stride, count, to);
    case DType::I32:
      return load_integers<int32_t>(from, 0, stride, count, to);
    case DType::U32:
      return load_integers<uint32_t>(from, 0, stride, count, to);
    case DType::I64:
      return load_integers<int64_t>(from, 0, stride, count, to);
    default:
      fail_dtype("copy", dtype);
  }
}

void store_integer_run(const int64_t* from,
                       DType dtype,
                       std::byte* data,
                       int64_t offset,
                       int64_t stride,
                       int64_t count) {
  switch (dtype) {
    case DType::U8:
      return store_integers<uint8_t>(from, data, offset, stride, count);
    case DType::I32:
      return store_integers<int32_t>(from, data, offset, stride, count);
    case DType::U32:
      return store_integers<uint32_t>(from, data, offset, stride, count);
    case DType::I64:
      return store_integers<int64_t>(from, data, offset, stride, count);
    default:
      fail_dtype("copy", dtype);
  }
}

void store_float_run(const float* from,
                     DType dtype,
                     std::byte* data,
                     int64_t offset,
                     int64_t stride,
                     int64_t count) {
  switch (dtype) {
    case DType::U8:
      return store_cast(from, reinterpret_cast<uint8_t*>(data) + offset, stride, count);
    case DType::I32:
      return store_cast(from, reinterpret_cast<int32_t*>(data) + offset, stride, count);
    case DType::U32:
      return store_cast(from, reinterpret_cast<uint32_t*>(data) + offset, stride, count);
    case DType::I64:
      return store_cast(from, reinterpret_cast<int64_t*>(data) + offset, stride, count);
    default:
      return store_floats("copy", from, dtype, data, offset, stride, count);
  }
}

void load_block_run(DType dtype, const std::byte* from, int64_t stride, int64_t count, float* to) {
  if (is_float(dtype)) {
    load_floats("copy", dtype, from, 0, stride, count, to);
  } else {
    simd().of(dtype).widen(from, count, to);
  }
}

/// One run, at most kChunk elements: x to y through F32 or I64.
void convert_run(DType x_dtype,
                 const std::byte* from,
                 int64_t x_stride,
                 const View& y,
                 std::byte* data,
                 int64_t offset,
                 int64_t y_stride,
                 int64_t count) {
  if (!is_integer(x_dtype)) {
    float buffer[kChunk];
    load_block_run(x_dtype, from, x_stride, count, buffer);
    return store_float_run(buffer, y.dtype, data, offset, y_stride, count);
  }
  int64_t buffer[kChunk];
  load_integer_run(x_dtype, from, x_stride, count, buffer);
  if (is_integer(y.dtype)) {
    return store_integer_run(buffer, y.dtype, data, offset, y_stride, count);
  }
  float floats[kChunk];
  for (int64_t i = 0; i < count; ++i) {
    floats[i] = static_cast<float>(buffer[i]);
  }
  store_float_run(floats, y.dtype, data, offset, y_stride, count);
}

/// The same type on both sides: bits are moved, NaN payloads and all.
void move_run(int64_t bytes,
              const std::byte* from,
              int64_t x_stride,
              std::byte* to,
              int64_t y_stride,
              int64_t count) {
  if (x_stride == 1 && y_stride == 1) {
    std::memcpy(to, from, static_cast<size_t>(count * bytes));
    return;
  }
  const auto strided = [&]<typename T>(T) {
    const auto* x = reinterpret_cast<const T*>(from);
    auto* y = reinterpret_cast<T*>(to);
    for (int64_t i = 0; i < count; ++i) {
      T value;
      std::memcpy(&value, x + i * x_stride, sizeof(T));
      y[i * y_stride] = value;
    }
  };
  switch (bytes) {
    case 1:
      return strided(uint8_t{});
    case 2:
      return strided(uint16_t{});
    case 4:
      return strided(uint32_t{});
    default:
      return strided(uint64_t{});
  }
}

}  // namespace

void CpuBackend::fill(const View& y, double value) {
  count();
  std::byte* data = output(y, "fill");
  const auto layouts = merged_layouts(y);
  const int64_t stride = layouts[0].stride(-1);
  float floats[kChunk];
  int64_t integers[kChunk];
  std::fill_n(floats, kChunk, static_cast<float>(value));
  std::fill_n(integers, kChunk, is_integer(y.dtype) ? static_cast<int64_t>(value) : 0);
  pool_.parallel_for(y.elements(), kGrain, [&](int64_t begin, int64_t end) {
    walk_runs(layouts, begin, end, [&](const auto& offsets, int64_t run) {
      for (int64_t i = 0; i < run; i += kChunk) {
        const int64_t n = std::min(kChunk, run - i);
        if (is_integer(y.dtype)) {
          store_integer_run(integers, y.dtype, data, offsets[0] + i * stride, stride, n);
        } else {
          store_floats("fill", floats, y.dtype, data, offsets[0] + i * stride, stride, n);
        }
      }
    });
  });
}

void CpuBackend::copy(const View& x, const View& y) {
  count();
  if (is_quantized(y.dtype)) {
    fail_dtype("copy to a quantised type", y.dtype);
  }
  const Source source{storage_of(x), x.dtype};
  std::byte* data = output(y, "copy");
  const bool same = x.dtype == y.dtype;
  const auto layouts = merged_layouts(x, y);
  const int64_t x_stride = layouts[0].stride(-1);
  const int64_t y_stride = layouts[1].stride(-1);
  const int64_t limit = same ? std::numeric_limits<int64_t>::max() : kChunk;
  const int64_t bytes = block_bytes(y.dtype);
  // Block types are walked in whole blocks, so that a range never begins inside of one.
  const int64_t unit = block_elements(x.dtype);
  pool_.parallel_for(x.elements() / unit, kGrain / unit, [&](int64_t begin, int64_t end) {
    walk_runs(layouts, begin * unit, end * unit, [&](const auto& offsets, int64_t run) {
      for (int64_t i = 0; i < run;) {
        int64_t n = std::min(limit, run - i);
        const std::byte* from = source.at(offsets[0] + i * x_stride, x_stride, n);
        const int64_t to = offsets[1] + i * y_stride;
        if (same) {
          move_run(bytes, from, x_stride, data + to * bytes, y_stride, n);
        } else {
          convert_run(x.dtype, from, x_stride, y, data, to, y_stride, n);
        }
        i += n;
      }
    });
  });
}

}  // namespace candela::cpu
