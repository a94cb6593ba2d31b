#include "backend/cpu/loops.h"

#include "backend/cpu/simd.h"
#include "backend/cpu/storage.h"
#include "base/bf16.h"
#include "base/error.h"

namespace candela::cpu {

namespace {

template <typename T>
void load_strided(const T* from, int64_t stride, int64_t count, float* to) {
  for (int64_t i = 0; i < count; ++i) {
    T value;
    std::memcpy(&value, from + i * stride, sizeof(T));
    if constexpr (std::is_same_v<T, float>) {
      to[i] = value;
    } else {
      to[i] = to_float(value);
    }
  }
}

}  // namespace

void load_floats(const char* op,
                 DType dtype,
                 const std::byte* data,
                 int64_t offset,
                 int64_t stride,
                 int64_t count,
                 float* to) {
  if (!is_float(dtype)) {
    fail_dtype(op, dtype);
  }
  if (stride == 1) {
    simd().of(dtype).widen(data + dtype_bytes(dtype, 1) * offset, count, to);
  } else if (dtype == DType::F32) {
    load_strided(reinterpret_cast<const float*>(data) + offset, stride, count, to);
  } else if (dtype == DType::BF16) {
    load_strided(reinterpret_cast<const BFloat16*>(data) + offset, stride, count, to);
  } else {
    load_strided(reinterpret_cast<const Float16*>(data) + offset, stride, count, to);
  }
}

void store_floats(const char* op,
                  const float* from,
                  DType dtype,
                  std::byte* data,
                  int64_t offset,
                  int64_t stride,
                  int64_t count) {
  if (dtype == DType::F32) {
    auto* to = reinterpret_cast<float*>(data) + offset;
    for (int64_t i = 0; i < count; ++i) {
      to[i * stride] = from[i];
    }
  } else if (dtype == DType::BF16) {
    auto* to = reinterpret_cast<BFloat16*>(data) + offset;
    if (stride == 1) {
      simd().narrow(from, count, to);
      return;
    }
    for (int64_t i = 0; i < count; ++i) {
      to[i * stride] = to_bf16(from[i]);
    }
  } else if (dtype == DType::F16) {
    auto* to = reinterpret_cast<Float16*>(data) + offset;
    for (int64_t i = 0; i < count; ++i) {
      to[i * stride] = to_f16(from[i]);
    }
  } else {
    fail_dtype(op, dtype);
  }
}

std::vector<float> all_floats(const char* op, const View& view) {
  std::vector<float> out(static_cast<size_t>(view.elements()));
  const std::byte* data = input(view, op);
  const auto layouts = merged_layouts(view);
  float* to = out.data();
  walk_runs(layouts, 0, view.elements(), [&](const auto& offsets, int64_t count) {
    load_floats(op, view.dtype, data, offsets[0], layouts[0].stride(-1), count, to);
    to += count;
  });
  return out;
}

std::vector<uint32_t> all_ids(const char* op, const View& view) {
  if (view.dtype != DType::U32) {
    fail_dtype(op, view.dtype);
  }
  std::vector<uint32_t> out;
  out.reserve(static_cast<size_t>(view.elements()));
  const auto* data = reinterpret_cast<const uint32_t*>(input(view, op));
  const auto layouts = merged_layouts(view);
  walk_runs(layouts, 0, view.elements(), [&](const auto& offsets, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      out.push_back(data[offsets[0] + i * layouts[0].stride(-1)]);
    }
  });
  return out;
}

void fail_id(const char* op, uint64_t id, int64_t position, int64_t limit) {
  fail(ErrorKind::InvalidArgument, Subject::Input,
       "{}: the index {} at position {} is outside of the {} entries; indices count from 0.", op,
       id, position, limit);
}

FloatRows::FloatRows(const char* op, const View& view) {
  const std::byte* data = input(view, op);
  const int64_t rows = view.dim(0);
  const int64_t n = view.dim(1);
  const bool in_place = view.dtype == DType::F32 && (view.layout.stride(1) == 1 || n == 1);
  if (!in_place) {
    packed_.resize(static_cast<size_t>(rows * n));
  }
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t offset = view.layout.offset + row * view.layout.stride(0);
    if (in_place) {
      rows_.push_back(reinterpret_cast<const float*>(data) + offset);
      continue;
    }
    float* to = packed_.data() + row * n;
    load_floats(op, view.dtype, data, offset, view.layout.stride(1), n, to);
    rows_.push_back(to);
  }
}

}  // namespace candela::cpu
