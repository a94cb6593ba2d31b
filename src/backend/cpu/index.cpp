#include "backend/cpu/cpu_backend.h"
#include "backend/cpu/loops.h"
#include "backend/cpu/storage.h"
#include "base/assert.h"

namespace candela::cpu {

namespace {

/// Row `at` of axis 0, as a view of the same rank.
View row_of(const View& view, int64_t at) {
  return {view.storage, view.layout.narrow(0, at, 1), view.dtype};
}

const uint32_t* words(const char* op, const View& view) {
  if (view.dtype != DType::U32) {
    fail_dtype(op, view.dtype);
  }
  return reinterpret_cast<const uint32_t*>(input(view, op));
}

}  // namespace

void CpuBackend::gather_rows(const View& table, const View& ids, const View& y) {
  const std::vector<uint32_t> rows = all_ids("gather_rows", ids);
  for (size_t i = 0; i < rows.size(); ++i) {
    if (rows[i] >= table.dim(0)) {
      fail_id("gather_rows", rows[i], static_cast<int64_t>(i), table.dim(0));
    }
  }
  for (size_t i = 0; i < rows.size(); ++i) {
    copy(row_of(table, rows[i]), row_of(y, static_cast<int64_t>(i)));
  }
}

void CpuBackend::write_rows(const View& x, const View& ids, const View& y) {
  const std::vector<uint32_t> rows = all_ids("write_rows", ids);
  for (size_t i = 0; i < rows.size(); ++i) {
    if (rows[i] >= y.dim(0)) {
      fail_id("write_rows", rows[i], static_cast<int64_t>(i), y.dim(0));
    }
  }
  for (size_t i = 0; i < rows.size(); ++i) {
    copy(row_of(x, static_cast<int64_t>(i)), row_of(y, rows[i]));
  }
}

void CpuBackend::gather(const View& x, int axis, const View& index, const View& y) {
  count();
  axis = axis < 0 ? axis + x.rank() : axis;
  const uint32_t* places = words("gather", index);
  const std::byte* from = input(x, "gather");
  std::byte* to = output(y, "gather");
  if (x.dtype != y.dtype || is_quantized(x.dtype)) {
    fail_dtype("gather", x.dtype);
  }
  const int64_t bytes = block_bytes(x.dtype);
  const int64_t limit = x.dim(axis);
  // x with the axis held at 0: what the walk over y adds along all others.
  Layout rest = x.layout;
  rest.shape = y.shape();
  rest.strides[static_cast<size_t>(axis)] = 0;
  const std::array<Layout, 3> layouts = {index.layout, rest, y.layout};
  if (y.rank() == 0) {
    fail_dtype("gather of a scalar", x.dtype);
  }
  pool_.parallel_for(y.elements(), kGrain / 4, [&](int64_t begin, int64_t end) {
    walk_runs(layouts, begin, end, [&](const auto& at, int64_t run) {
      for (int64_t i = 0; i < run; ++i) {
        const int64_t position = at[0] + i * layouts[0].stride(-1);
        const int64_t place = places[position];
        if (place >= limit) {
          fail_id("gather", places[position], position, limit);
        }
        const int64_t source = at[1] + i * rest.stride(-1) + place * x.layout.stride(axis);
        std::memcpy(to + (at[2] + i * y.layout.stride(-1)) * bytes, from + source * bytes,
                    static_cast<size_t>(bytes));
      }
    });
  });
}

void CpuBackend::scatter_add(const View& x, int axis, const View& index, const View& y) {
  count();
  axis = axis < 0 ? axis + x.rank() : axis;
  if (x.dtype != DType::F32 || y.dtype != DType::F32 || x.rank() == 0) {
    fail_dtype("scatter_add", x.dtype != DType::F32 ? x.dtype : y.dtype);
  }
  const uint32_t* places = words("scatter_add", index);
  const auto* from = reinterpret_cast<const float*>(input(x, "scatter_add"));
  auto* to = reinterpret_cast<float*>(output(y, "scatter_add"));
  const int64_t limit = y.dim(axis);
  Layout rest = y.layout;
  rest.shape = x.shape();
  rest.strides[static_cast<size_t>(axis)] = 0;
  const std::array<Layout, 3> layouts = {index.layout, x.layout, rest};
  // One thread: equal indices meet in ascending order.
  walk_runs(layouts, 0, x.elements(), [&](const auto& at, int64_t run) {
    for (int64_t i = 0; i < run; ++i) {
      const int64_t position = at[0] + i * layouts[0].stride(-1);
      const int64_t place = places[position];
      if (place >= limit) {
        fail_id("scatter_add", places[position], position, limit);
      }
      to[at[2] + i * rest.stride(-1) + place * y.layout.stride(axis)] +=
          from[at[1] + i * x.layout.stride(-1)];
    }
  });
}

}  // namespace candela::cpu
