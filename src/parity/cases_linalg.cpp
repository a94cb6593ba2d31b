#include <cmath>

#include "base/error.h"
#include "parity/case.h"
#include "parity/reference.h"
#include "tensor/ops.h"

namespace candela::parity {

namespace {

constexpr DType kFloats[] = {DType::F32, DType::BF16, DType::F16};
constexpr int64_t kEdges[] = {1, 2, 15, 16, 17, 31, 33, 63, 64, 65, 127, 128, 129};

Case matmul_case(const std::string& what, const Host& a, const Host& b) {
  Case out;
  out.name = "matmul/" + what;
  out.op = "matmul";
  out.dtype = b.dtype;
  out.inputs = [a, b] { return Hosts{a, b}; };
  out.run = [](const Tensors& in, const Device&) { return Tensors{matmul(in[0], in[1])}; };
  out.reference = [](const Hosts& in) { return std::vector<Numbers>{ref_matmul(in[0], in[1])}; };
  return out;
}

void add_matmul(Table& table) {
  for (const DType left : kFloats) {
    for (const DType right : kFloats) {
      Case one = matmul_case(fmt::format("{}_{}", dtype_name(left), dtype_name(right)),
                             normal({2, 7, 33}, 1, left), normal({2, 33, 9}, 2, right));
      one.basic = left == DType::F32;
      add_with_layouts(table, one);
    }
  }
  for (const int64_t n : kEdges) {
    table.push_back(matmul_case(fmt::format("edge_{}", n), normal({n, 19}, 3), normal({19, n}, 4)));
    table.push_back(matmul_case(fmt::format("inner_{}", n), normal({5, n}, 5),
                                placed(normal({n, 6}, 6, DType::BF16), Placement::Transposed)));
  }
  table.push_back(matmul_case("outliers", outliers({17, 200}, 7), outliers({200, 9}, 8)));
  table.push_back(matmul_case("no_rows", filled({0, 5}, 0), normal({5, 3}, 9)));
  table.push_back(matmul_case("no_inner", filled({2, 0}, 0), filled({0, 3}, 0)));
  table.push_back(
      matmul_case("many_batches", normal({66000, 1, 2}, 10), normal({66000, 2, 1}, 11)));
  Case batch = matmul_case("broadcast_batch", normal({3, 4, 5}, 12), normal({5, 6}, 13));
  batch.reference = [](const Hosts& in) {
    Host b = in[1];
    b.shape = Shape{3, 5, 6};
    for (int copy = 1; copy < 3; ++copy) {
      b.values.insert(b.values.end(), in[1].values.begin(), in[1].values.end());
    }
    return std::vector<Numbers>{ref_matmul(in[0], b)};
  };
  table.push_back(batch);
}

Case linear_case(const std::string& what, Hosts in) {
  Case out;
  out.name = "linear/" + what;
  out.op = "linear";
  out.dtype = in[1].dtype;
  out.inputs = [in = std::move(in)] { return in; };
  out.run = [](const Tensors& t, const Device&) {
    return Tensors{linear(t[0], t[1], t.size() > 2 ? std::optional(t[2]) : std::nullopt,
                          t.size() > 3 ? std::optional(t[3]) : std::nullopt)};
  };
  out.reference = [](const Hosts& h) {
    return std::vector<Numbers>{
        ref_linear(h[0], h[1], h.size() > 2 ? &h[2] : nullptr, h.size() > 3 ? &h[3] : nullptr)};
  };
  return out;
}

// Weights scaled so that outputs are of order one, as in a model.
Host weight(int64_t out, int64_t in, DType dtype, uint64_t seed = 2) {
  return is_quantized(dtype) ? quantized({out, in}, seed, dtype, 0.1)
                             : normal({out, in}, seed, dtype, 0.1);
}

void add_linear_shapes(Table& table, DType dtype) {
  const std::string text(dtype_name(dtype));
  const int64_t in = is_quantized(dtype) ? 96 : 50;
  for (const int64_t rows : {1, 2, 4, 8, 15, 17, 33, 65, 129}) {
    table.push_back(linear_case(fmt::format("{}/rows_{}", text, rows),
                                {normal({rows, in}, 1), weight(37, in, dtype)}));
  }
  for (const int64_t out : {1, 17, 64, 65, 129}) {
    for (const int64_t rows : {1, 5}) {
      table.push_back(linear_case(fmt::format("{}/out_{}_rows_{}", text, out, rows),
                                  {normal({rows, in}, 1), weight(out, in, dtype)}));
    }
  }
  for (const int64_t width : {1, 3, 31, 33, 64, 128, 160, 257, 2048}) {
    if (width % block_elements(dtype) == 0) {
      for (const int64_t rows : {1, 40}) {
        table.push_back(linear_case(fmt::format("{}/in_{}_rows_{}", text, width, rows),
                                    {normal({rows, width}, 3), weight(21, width, dtype, 4)}));
      }
    }
  }
}

void add_linear(Table& table) {
  for (const DType dtype :
       {DType::F32, DType::BF16, DType::F16, DType::Q8_0, DType::Q4_0, DType::Q4_1}) {
    const std::string text(dtype_name(dtype));
    const int64_t in = is_quantized(dtype) ? 96 : 51;
    add_linear_shapes(table, dtype);
    for (const int64_t rows : {1, 6, 70}) {
      Case full = linear_case(
          fmt::format("{}/bias_residual_{}", text, rows),
          {normal({rows, in}, 5), weight(19, in, dtype), normal({19}, 6), normal({rows, 19}, 7)});
      full.basic = true;
      add_with_layouts(table, full);
    }
    table.push_back(linear_case(text + "/bias_BF16", {normal({3, in}, 5), weight(19, in, dtype),
                                                      normal({19}, 6, DType::BF16)}));
    table.push_back(linear_case(text + "/outliers", {outliers({4, in}, 8), weight(33, in, dtype)}));
    table.push_back(linear_case(text + "/no_rows", {filled({0, in}, 0), weight(5, in, dtype)}));
    // Beyond 64 KiB: several segments where bindings are that small.
    for (const int64_t rows : {1, 5, 17}) {
      table.push_back(linear_case(fmt::format("{}/large_{}", text, rows),
                                  {normal({rows, 160}, 9), weight(900, 160, dtype, 10)}));
    }
  }
  table.push_back(
      linear_case("BF16/many_outputs", {normal({1, 8}, 11), weight(66001, 8, DType::BF16)}));
  // Large enough for sizes in a kernel's text, and for its longest rounds.
  table.push_back(
      linear_case("BF16/many_columns", {normal({1, 2048}, 25), weight(131, 2048, DType::BF16)}));
  Case deep = linear_case("BF16/rank3", {normal({6, 10}, 12), weight(7, 10, DType::BF16)});
  deep.run = [](const Tensors& t, const Device&) {
    return Tensors{linear(t[0].reshape({2, 3, 10}), t[1])};
  };
  table.push_back(deep);
}

void add_norm_linear(Table& table) {
  constexpr float kEps = 1e-6f;
  const auto add = [&](const std::string& what, const Host& x, const Host& norm, const Host& w) {
    Case out;
    out.name = "norm_linear/" + what;
    out.op = "norm_linear";
    out.dtype = w.dtype;
    out.basic = what.starts_with("plain");
    out.inputs = [=] { return Hosts{x, norm, w, normal({w.shape[0]}, 6)}; };
    out.run = [](const Tensors& t, const Device&) {
      return Tensors{norm_linear(t[0], t[1], kEps, t[2]),
                     norm_linear(t[0], t[1], kEps, t[2], t[3])};
    };
    out.reference = [](const Hosts& h) {
      Host normed = h[0];
      normed.values = ref_rms_norm(h[0], h[1], static_cast<double>(kEps));
      return std::vector<Numbers>{ref_linear(normed, h[2], nullptr, nullptr),
                                  ref_linear(normed, h[2], &h[3], nullptr)};
    };
    add_with_layouts(table, out);
  };
  for (const DType norm : {DType::F32, DType::BF16, DType::F16}) {
    for (const int64_t rows : {1, 3, 9, 70}) {
      add(fmt::format("plain_{}_{}", dtype_name(norm), rows), normal({rows, 64}, 1),
          normal({64}, 2, norm), weight(19, 64, DType::BF16));
    }
  }
  for (const int64_t width : {8, 50, 136, 520, 2048}) {
    add(fmt::format("in_{}", width), normal({2, width}, 3), normal({width}, 4, DType::BF16),
        weight(33, width, DType::BF16));
  }
  add("Q8_0", normal({1, 96}, 5), normal({96}, 4), weight(21, 96, DType::Q8_0));
  add("outliers", outliers({2, 256}, 5), normal({256}, 4, DType::BF16),
      weight(40, 256, DType::BF16));
  add("zeros", filled({1, 64}, 0), normal({64}, 4), weight(5, 64, DType::F32));
  // For matrix cores, which norm while they cut x into terms. (Of this x, because F16 terms are off
  // by a share of each product: where all rows are alike, their one sum must not be small by
  // chance.)
  for (const DType norm : {DType::F32, DType::BF16, DType::F16}) {
    for (const int64_t rows : {16, 130}) {
      add(fmt::format("terms_{}_{}", dtype_name(norm), rows), normal({rows, 136}, 24),
          normal({136}, 8, norm), weight(80, 136, DType::BF16));
    }
  }
  add("terms_outliers", outliers({40, 256}, 9), normal({256}, 8, DType::BF16),
      weight(70, 256, DType::BF16));
  add("terms_zeros", filled({40, 64}, 0), normal({64}, 8), weight(70, 64, DType::BF16));
}

// Sizes around the tiles of matrix cores, which take over from five rows on where there are any.
void add_linear_tiles(Table& table) {
  struct Size {
    int64_t rows, out, in;
  };
  constexpr Size kSizes[] = {{4, 130, 72},
                             {5, 130, 72},
                             {9, 40, 64},
                             {16, 130, 8},
                             {31, 70, 200},
                             {33, 65, 72},
                             {64, 64, 1040},
                             {65, 193, 520},
                             {130, 200, 72},
                             {260, 5000, 136},
                             {1025, 70, 64},
                             {12, 33, 4104},
                             // Large tiles, 64 x 128, 128 x 128 and 128 x 192.
                             {40, 1100, 600},
                             {64, 5000, 72},
                             {275, 5072, 72},
                             {900, 3000, 72}};
  for (const DType dtype : {DType::BF16, DType::F16}) {
    const std::string text(dtype_name(dtype));
    for (const Size& size : kSizes) {
      table.push_back(
          linear_case(fmt::format("{}/tile_{}_{}_{}", text, size.rows, size.out, size.in),
                      {normal({size.rows, size.in}, 13), weight(size.out, size.in, dtype, 14)}));
    }
    for (const int64_t rows : {20, 70, 200}) {
      table.push_back(linear_case(fmt::format("{}/tile_bias_residual_{}", text, rows),
                                  {outliers({rows, 136}, 15), weight(90, 136, dtype, 16),
                                   normal({90}, 17, DType::BF16), normal({rows, 90}, 18)}));
    }
    // F16 activations are used as they lie where they fill whole tiles.
    for (const Size& size : {Size{128, 70, 192}, Size{896, 3000, 128}, Size{100, 70, 192}}) {
      table.push_back(linear_case(
          fmt::format("{}/tile_x_F16_{}_{}_{}", text, size.rows, size.out, size.in),
          {normal({size.rows, size.in}, 26, DType::F16), weight(size.out, size.in, dtype, 27)}));
    }
    table.push_back(
        linear_case(text + "/tile_segments", {normal({70, 160}, 19), weight(900, 160, dtype, 20)}));
  }
}

// A weight that changes: nothing derived from its old values may be used.
void add_linear_rewritten(Table& table) {
  Case one = linear_case("BF16/rewritten", {normal({40, 128}, 23), weight(70, 128, DType::BF16, 24),
                                            normal({70, 128}, 25, DType::BF16, 0x1p30)});
  one.run = [](const Tensors& t, const Device&) {
    linear(t[0], t[1]);
    t[1].copy_from(t[2]);
    return Tensors{linear(t[0], t[1])};
  };
  one.reference = [](const Hosts& h) {
    return std::vector<Numbers>{ref_linear(h[0], h[2], nullptr, nullptr)};
  };
  table.push_back(one);
}

// Rows of x and w that differ by up to 80 powers of two; results are brought back to order one.
void add_linear_ranges(Table& table) {
  for (const int64_t rows : {12, 48, 150}) {
    const int64_t out = 75;
    const int64_t in = 208;
    const auto power = [](int64_t row) {
      return std::ldexp(1.0, static_cast<int>(row * 37 % 81) - 40);
    };
    const auto scale_rows = [power](Host host, double sign) {
      const int64_t cols = host.shape[1];
      for (size_t i = 0; i < host.values.size(); ++i) {
        const double by = power(static_cast<int64_t>(i) / cols);
        host.values[i] *= sign > 0 ? by : 1.0 / by;
      }
      return host;
    };
    const Hosts in_hosts{scale_rows(outliers({rows, in}, 21), 1.0),
                         scale_rows(weight(out, in, DType::BF16, 22), 1.0),
                         scale_rows(filled({rows, 1}, 1.0), -1.0),
                         scale_rows(filled({out, 1}, 1.0), -1.0)};
    Case one = linear_case(fmt::format("BF16/ranges_{}", rows), {in_hosts[0], in_hosts[1]});
    one.inputs = [in_hosts] { return Hosts(in_hosts); };
    one.run = [](const Tensors& t, const Device&) {
      return Tensors{mul(mul(linear(t[0], t[1]), t[2]), t[3].t())};
    };
    one.reference = [out](const Hosts& h) {
      Numbers y = ref_linear(h[0], h[1], nullptr, nullptr);
      for (size_t i = 0; i < y.size(); ++i) {
        y[i] *=
            h[2].values[i / static_cast<size_t>(out)] * h[3].values[i % static_cast<size_t>(out)];
      }
      return std::vector<Numbers>{y};
    };
    table.push_back(one);
  }
}

}  // namespace

void add_linalg(Table& table) {
  add_norm_linear(table);
  add_matmul(table);
  add_linear(table);
  add_linear_tiles(table);
  add_linear_ranges(table);
  add_linear_rewritten(table);
}

}  // namespace candela::parity
