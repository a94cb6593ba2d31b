#include "backend/cpu/topk.h"

#include "backend/cpu/cpu_backend.h"
#include "backend/cpu/loops.h"
#include "backend/cpu/storage.h"

namespace candela::cpu {

void largest(const float* x, int64_t n, int64_t k, float* values, uint32_t* indices) {
  int64_t held = 0;
  for (int64_t i = 0; i < n; ++i) {
    if (held == k && !(x[i] > values[k - 1])) {
      continue;
    }
    int64_t at = held < k ? held : k - 1;
    for (; at > 0 && x[i] > values[at - 1]; --at) {
      values[at] = values[at - 1];
      indices[at] = indices[at - 1];
    }
    values[at] = x[i];
    indices[at] = static_cast<uint32_t>(i);
    held = std::min(held + 1, k);
  }
}

void CpuBackend::top_k(const View& x, const View& values, const View& indices) {
  count();
  const std::byte* from = input(x, "top_k");
  std::byte* best = output(values, "top_k");
  auto* where = reinterpret_cast<uint32_t*>(output(indices, "top_k"));
  if (indices.dtype != DType::U32) {
    fail_dtype("top_k", indices.dtype);
  }
  const int64_t n = x.dim(-1);
  const int64_t k = values.dim(-1);
  pool_.parallel_for(row_count(x.layout), row_grain(n), [&](int64_t begin, int64_t end) {
    std::vector<float> buffer(static_cast<size_t>(n));
    std::vector<float> found(static_cast<size_t>(k));
    std::vector<uint32_t> places(static_cast<size_t>(k));
    for (int64_t row = begin; row < end; ++row) {
      const float* values_in = floats_of("top_k", x.dtype, from, row_offset(x.layout, row),
                                         x.layout.stride(-1), n, buffer.data());
      largest(values_in, n, k, found.data(), places.data());
      store_floats("top_k", found.data(), values.dtype, best, row_offset(values.layout, row),
                   values.layout.stride(-1), k);
      const int64_t at = row_offset(indices.layout, row);
      for (int64_t i = 0; i < k; ++i) {
        where[at + i * indices.layout.stride(-1)] = places[static_cast<size_t>(i)];
      }
    }
  });
}

}  // namespace candela::cpu
