#include "backend/cpu/cpu_backend.h"
#include "backend/cpu/dot_rows.h"
#include "backend/cpu/loops.h"

namespace candela::cpu {

namespace {

// Columns of b that are turned into gapless rows at a time.
constexpr int64_t kColumns = 48;
constexpr int64_t kRows = 32;

int64_t weight_row_grain(int64_t n, int64_t rows) {
  return std::max<int64_t>(kGrain / 4 / std::max<int64_t>(1, n * rows), 1) * 3;
}

/// One matrix of a batch: a [m, k] times columns [begin, end) of b [k, n].
struct Product {
  const View& a;
  const View& b;
  const View& y;
  const std::byte* a_data;
  const std::byte* b_data;
  float* y_data;

  void columns(int64_t batch, int64_t begin, int64_t end) const {
    const int64_t depth = a.dim(-1);
    std::vector<float> b_rows = pack_b(batch_offset(b, batch), begin, end);
    const WeightRows weight(b_rows.data(), depth);
    std::vector<float> a_rows(static_cast<size_t>(kRows * depth));
    const int64_t a_start = batch_offset(a, batch);
    const int64_t y_start = batch_offset(y, batch) + begin * y.layout.stride(-1);
    for (int64_t row = 0; row < a.dim(-2); row += kRows) {
      const int64_t count = std::min(kRows, a.dim(-2) - row);
      std::array<const float*, kRows> x;
      std::array<float*, kRows> out;
      for (int64_t i = 0; i < count; ++i) {
        const auto at = static_cast<size_t>(i);
        x[at] = floats_of("matmul", a.dtype, a_data, a_start + (row + i) * a.layout.stride(-2),
                          a.layout.stride(-1), depth, a_rows.data() + i * depth);
        out[at] = y_data + y_start + (row + i) * y.layout.stride(-2);
      }
      dot_rows({x.data(), static_cast<size_t>(count)}, depth, weight, 0, 0, end - begin,
               {out.data(), y.layout.stride(-1)});
    }
  }

  /// Offset of matrix `batch`, batches being all dimensions but two.
  static int64_t batch_offset(const View& view, int64_t batch) {
    int64_t offset = view.layout.offset;
    for (int axis = view.rank() - 3; axis >= 0 && batch > 0; --axis) {
      offset += batch % view.dim(axis) * view.layout.stride(axis);
      batch /= view.dim(axis);
    }
    return offset;
  }

 private:
  std::vector<float> pack_b(int64_t start, int64_t begin, int64_t end) const {
    const int64_t depth = b.dim(-2);
    std::vector<float> rows(static_cast<size_t>((end - begin) * depth));
    if (b.layout.stride(-1) != 1) {
      for (int64_t column = begin; column < end; ++column) {
        load_floats("matmul", b.dtype, b_data, start + column * b.layout.stride(-1),
                    b.layout.stride(-2), depth, rows.data() + (column - begin) * depth);
      }
      return rows;
    }
    std::array<float, kColumns> line;
    for (int64_t k = 0; k < depth; ++k) {
      load_floats("matmul", b.dtype, b_data, start + k * b.layout.stride(-2) + begin, 1,
                  end - begin, line.data());
      for (int64_t column = 0; column < end - begin; ++column) {
        rows[static_cast<size_t>(column * depth + k)] = line[static_cast<size_t>(column)];
      }
    }
    return rows;
  }
};

/// Adds a bias row and a residual to columns [begin, end) of y.
void add_extras(const LinearArgs& args,
                const std::vector<float>& bias,
                std::span<float* const> y,
                int64_t step,
                int64_t begin,
                int64_t end) {
  const std::byte* residual = args.residual ? input(*args.residual, "linear") : nullptr;
  std::vector<float> line(static_cast<size_t>(end - begin));
  for (size_t row = 0; row < y.size(); ++row) {
    if (!bias.empty()) {
      for (int64_t o = begin; o < end; ++o) {
        y[row][o * step] += bias[static_cast<size_t>(o)];
      }
    }
    if (!args.residual) {
      continue;
    }
    const Layout& layout = args.residual->layout;
    const int64_t offset =
        layout.offset + static_cast<int64_t>(row) * layout.stride(0) + begin * layout.stride(1);
    const float* from = floats_of("linear", args.residual->dtype, residual, offset,
                                  layout.stride(1), end - begin, line.data());
    for (int64_t o = begin; o < end; ++o) {
      y[row][o * step] += from[o - begin];
    }
  }
}

}  // namespace

void CpuBackend::matmul(const View& a, const View& b, const View& y) {
  count();
  if (y.dtype != DType::F32) {
    fail_dtype("matmul", y.dtype);
  }
  const Product product{a,
                        b,
                        y,
                        input(a, "matmul"),
                        input(b, "matmul"),
                        reinterpret_cast<float*>(output(y, "matmul"))};
  if (y.elements() == 0) {
    return;
  }
  const int64_t batches = y.elements() / (y.dim(-1) * y.dim(-2));
  const int64_t blocks = (y.dim(-1) + kColumns - 1) / kColumns;
  const int64_t work = a.dim(-2) * a.dim(-1) * std::min(kColumns, y.dim(-1));
  pool_.parallel_for(batches * blocks, row_grain(work), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t column = i % blocks * kColumns;
      product.columns(i / blocks, column, std::min(column + kColumns, y.dim(-1)));
    }
  });
}

void CpuBackend::linear(const LinearArgs& args, const View& y) {
  count();
  if (y.dtype != DType::F32) {
    fail_dtype("linear", y.dtype);
  }
  if (y.elements() == 0) {
    return;
  }
  const View from = normed(args);
  const FloatRows x("linear", from);
  const WeightRows weight("linear", args.weight);
  const std::vector<float> bias =
      args.bias ? all_floats("linear", *args.bias) : std::vector<float>();
  auto* data = reinterpret_cast<float*>(output(y, "linear")) + y.layout.offset;
  std::vector<float*> rows;
  rows.reserve(static_cast<size_t>(y.dim(0)));
  for (int64_t row = 0; row < y.dim(0); ++row) {
    rows.push_back(data + row * y.layout.stride(0));
  }
  const int64_t step = y.layout.stride(1);
  const int64_t n = args.x.dim(1);
  const auto run = [&]<typename X>(std::span<const X* const> x_rows) {
    products_.over_rows<X>(pool_, 1, y.dim(1), weight_row_grain(n, y.dim(0)),
                           [&](int64_t, int64_t begin, int64_t end) {
                             products_(x_rows, n, weight, 0, begin, end, {rows.data(), step});
                             add_extras(args, bias, rows, step, begin, end);
                           });
  };
  if (!args.sensitive && products_.rounds(y.dim(0), weight.dtype())) {
    const RoundedRows rounded_rows = rounded(pool_, x.rows(), n);
    run(rounded_rows.rows());
  } else {
    run(x.rows());
  }
}

}  // namespace candela::cpu
