#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "parity/case.h"
#include "parity/reference.h"
#include "tensor/ops.h"

namespace candela::parity {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr int64_t kEdges[] = {1, 15, 16, 17, 63, 64, 65, 127, 128, 129, 1025};

using Op = Tensor (*)(const Tensor&, int, bool);
using Formula = double (*)(std::span<const double>);

double sum_of(std::span<const double> x) {
  return std::accumulate(x.begin(), x.end(), 0.0);
}
double mean_of(std::span<const double> x) {
  return sum_of(x) / static_cast<double>(x.size());
}
double max_of(std::span<const double> x) {
  return *std::ranges::max_element(x);
}
double min_of(std::span<const double> x) {
  return *std::ranges::min_element(x);
}
double var_of(std::span<const double> x) {
  double total = 0.0;
  for (const double value : x) {
    total += (value - mean_of(x)) * (value - mean_of(x));
  }
  return total / static_cast<double>(x.size() - 1);
}
double argmax_of(std::span<const double> x) {
  return static_cast<double>(std::ranges::max_element(x) - x.begin());
}
double argmin_of(std::span<const double> x) {
  return static_cast<double>(std::ranges::min_element(x) - x.begin());
}
double lse_of(std::span<const double> x) {
  double total = 0.0;
  for (const double value : x) {
    total += std::exp(value - max_of(x));
  }
  return std::log(total) + max_of(x);
}

// Along any axis: rows gathered one by one.
Numbers reduce_along(const Host& x, int axis, Formula formula) {
  const int at = axis < 0 ? axis + x.shape.rank() : axis;
  int64_t inner = 1;
  for (int i = at + 1; i < x.shape.rank(); ++i) {
    inner *= x.shape[i];
  }
  const int64_t length = x.shape[at];
  const int64_t outputs = x.shape.removed(at).elements();
  Numbers out;
  for (int64_t i = 0; i < outputs; ++i) {
    Numbers row;
    row.reserve(static_cast<size_t>(length));
    for (int64_t j = 0; j < length; ++j) {
      row.push_back(x.values[static_cast<size_t>((i / inner * length + j) * inner + i % inner)]);
    }
    out.push_back(formula(row));
  }
  return out;
}

Case reduce_case(const std::string& name,
                 const std::string& what,
                 Op op,
                 Formula formula,
                 Bound bound,
                 int axis,
                 bool keepdim,
                 const Host& x) {
  Case out;
  out.name = name + "/" + what;
  out.op = name;
  out.dtype = x.dtype;
  out.bound = bound;
  out.inputs = [x] { return Hosts{x}; };
  out.run = [=](const Tensors& in, const Device&) { return Tensors{op(in[0], axis, keepdim)}; };
  out.reference = [=](const Hosts& in) {
    return std::vector<Numbers>{reduce_along(in[0], axis, formula)};
  };
  return out;
}

void add_one(Table& table, const std::string& name, Op op, Formula formula, Bound bound) {
  const auto add = [&](const std::string& what, int axis, const Host& x) {
    table.push_back(reduce_case(name, what, op, formula, bound, axis, false, x));
  };
  Case plain = reduce_case(name, "F32", op, formula, bound, -1, true, normal({7, 33}, 1));
  plain.basic = true;
  add_with_layouts(table, plain);
  add("axis0", 0, normal({17, 5, 3}, 2));
  add("axis1", 1, normal({4, 19, 3}, 3));
  add("BF16", -1, normal({5, 33}, 4, DType::BF16));
  add("F16", 0, normal({5, 33}, 5, DType::F16));
  add("outliers", -1, outliers({9, 300}, 6));
  add("equal", -1, filled({3, 65}, 0.5));
  add("no_rows", -1, filled({0, 7}, 0));
  for (const int64_t n : kEdges) {
    if (n > 1 || name != "var") {
      add(fmt::format("{}_columns", n), -1, normal({3, n}, 7));
    }
  }
  add("many_rows", -1, normal({66000, 2}, 8));
}

void add_reductions(Table& table) {
  add_one(table, "sum", sum, sum_of, kExact);
  add_one(table, "mean", mean, mean_of, kExact);
  add_one(table, "max", max, max_of, kBits);
  add_one(table, "min", min, min_of, kBits);
  add_one(table, "var", var, var_of, kExact);
  add_one(table, "argmax", argmax, argmax_of, kBits);
  add_one(table, "argmin", argmin, argmin_of, kBits);
  add_one(table, "log_sum_exp", log_sum_exp, lse_of, kExp);
  table.push_back(
      reduce_case("sum", "empty_axis", sum, sum_of, kBits, -1, false, filled({3, 0}, 0)));
  table.push_back(reduce_case("max", "huge", max, max_of, kBits, -1, false,
                              numbers({2, 3}, {-3e38, 3e38, 0, -3e38, -2e38, -3e38})));
  table.push_back(reduce_case("min", "huge", min, min_of, kBits, -1, false,
                              numbers({2, 3}, {-3e38, 3e38, 0, 3e38, 2e38, 3e38})));
  table.push_back(reduce_case("argmax", "vocabulary", argmax, argmax_of, kBits, -1, false,
                              normal({2, 151936}, 11)));
  table.push_back(reduce_case("argmax", "ties", argmax, argmax_of, kBits, -1, false,
                              integers({9, 5000}, 3, 12, DType::F32)));
  table.push_back(reduce_case("argmax", "lowest", argmax, argmax_of, kBits, -1, false,
                              filled({2, 300}, -3.4e38)));
  Case all;
  all.name = "sum_all/F32";
  all.op = "sum_all";
  all.inputs = [] { return Hosts{uniform({7, 5, 33}, 0, 1, 9)}; };
  all.run = [](const Tensors& in, const Device&) { return Tensors{sum_all(in[0])}; };
  all.reference = [](const Hosts& in) { return std::vector<Numbers>{{sum_of(in[0].values)}}; };
  add_with_layouts(table, all);
}

Case softmax_case(const std::string& what, bool log, const Host& x, bool exact) {
  Case out;
  out.op = log ? "log_softmax" : "softmax";
  out.name = out.op + "/" + what;
  out.dtype = x.dtype;
  out.bound = exact ? kExact : kExp;
  out.inputs = [x] { return Hosts{x}; };
  out.run = [log](const Tensors& in, const Device&) {
    return Tensors{log ? log_softmax(in[0], -1) : softmax(in[0], -1)};
  };
  out.reference = [log](const Hosts& in) { return std::vector<Numbers>{ref_softmax(in[0], log)}; };
  return out;
}

Host with_masked(Host x) {
  const auto cols = static_cast<size_t>(x.shape[-1]);
  for (size_t i = 0; i < x.values.size(); ++i) {
    // Row 1 is masked as a whole, the others in every third column.
    if (i / cols == 1 || i % 3 == 0) {
      x.values[i] = -kInfinity;
    }
  }
  return x;
}

void add_softmax(Table& table) {
  for (const bool log : {false, true}) {
    Case plain = softmax_case("F32", log, normal({7, 33}, 1, DType::F32, 3), true);
    plain.basic = true;
    add_with_layouts(table, plain);
    for (const int64_t n : kEdges) {
      table.push_back(softmax_case(fmt::format("{}_columns", n), log, normal({3, n}, 2), true));
    }
    table.push_back(softmax_case("BF16", log, normal({5, 33}, 3, DType::BF16), true));
    table.push_back(softmax_case("outliers", log, outliers({9, 300}, 4), false));
    table.push_back(softmax_case("equal", log, filled({3, 65}, 8), true));
    table.push_back(softmax_case("large", log, uniform({3, 65}, -900, 900, 5), false));
    table.push_back(softmax_case("empty", log, filled({0, 65}, 8), true));
    table.push_back(softmax_case("many_rows", log, normal({66000, 2}, 6), false));
    Case axis = softmax_case("axis0", log, normal({5, 9}, 7), true);
    axis.run = [log](const Tensors& in, const Device&) {
      return Tensors{(log ? log_softmax(in[0].t(), 0) : softmax(in[0].t(), 0)).t()};
    };
    table.push_back(axis);
  }
  table.push_back(softmax_case("masked", false, with_masked(normal({4, 37}, 8)), false));
  table.push_back(softmax_case("huge", false, numbers({1, 4}, {3e38, -3e38, 0, 3e38}), false));
}

void add_scans(Table& table) {
  Case scan;
  scan.name = "cumsum/F32";
  scan.op = "cumsum";
  scan.basic = true;
  scan.inputs = [] { return Hosts{normal({5, 33}, 1)}; };
  scan.run = [](const Tensors& in, const Device&) { return Tensors{cumsum(in[0], -1)}; };
  scan.reference = [](const Hosts& in) {
    return std::vector<Numbers>{by_rows(in[0], [](std::span<const double> x, std::span<double> y) {
      std::partial_sum(x.begin(), x.end(), y.begin());
    })};
  };
  add_with_layouts(table, scan);
  for (const int64_t n : {1, 64, 65, 257, 1500}) {
    scan.name = fmt::format("cumsum/{}_columns", n);
    scan.basic = false;
    scan.inputs = [n] { return Hosts{normal({2, n}, 2)}; };
    table.push_back(scan);
  }
  scan.name = "cumsum/axis0";
  scan.inputs = [] { return Hosts{normal({6, 4}, 3)}; };
  scan.run = [](const Tensors& in, const Device&) { return Tensors{cumsum(in[0].t(), 0).t()}; };
  table.push_back(scan);
}

void add_top_k(Table& table) {
  const auto add = [&](const std::string& what, const Host& x, int64_t k) {
    Case out;
    out.name = "top_k/" + what;
    out.op = "top_k";
    out.dtype = x.dtype;
    out.bound = kBits;
    out.basic = k == 8;
    out.inputs = [x] { return Hosts{x}; };
    out.run = [k](const Tensors& in, const Device&) {
      const auto [values, indices] = top_k(in[0], k);
      return Tensors{values, indices};
    };
    out.reference = [k](const Hosts& in) {
      const std::vector<Numbers> route = ref_moe_route(in[0], k, false);
      Numbers values;
      const auto cols = static_cast<size_t>(in[0].shape[-1]);
      for (size_t i = 0; i < route[0].size(); ++i) {
        const size_t row = i / static_cast<size_t>(k);
        values.push_back(in[0].values[row * cols + static_cast<size_t>(route[0][i])]);
      }
      return std::vector<Numbers>{values, route[0]};
    };
    add_with_layouts(table, out);
  };
  add("k8", normal({7, 128}, 1), 8);
  add("k1", normal({3, 17}, 2), 1);
  add("k64", normal({2, 3000}, 3), 64);
  add("all", normal({2, 5}, 4), 5);
  add("ties", integers({4, 300}, 4, 5, DType::F32), 20);
  add("equal", filled({2, 70}, 1), 64);
  add("BF16", normal({3, 65}, 6, DType::BF16), 9);
  add("huge", numbers({1, 4}, {-3e38, 3e38, -3.2e38, -3.1e38}), 4);
  add("no_rows", filled({0, 70}, 1), 3);
}

void add_sample(Table& table) {
  // The number that decides lies in the middle of the share of candidate `wanted`.
  struct Row {
    double temperature, top_k, top_p, min_p;
    int wanted;
  };
  constexpr Row kRows[] = {{0, 1, 1, 0, 0},    {1, 64, 1, 0, 0},   {0.7, 20, 1, 0, 7},
                           {1.3, 5, 1, 0, 4},  {1, 64, 0.9, 0, 2}, {0.5, 64, 0.95, 0.1, 1},
                           {2, 64, 1, 0.5, 1}, {1, 1, 1, 0, 0},    {1e-3, 64, 1, 0, 0}};
  for (const int64_t vocabulary : {7, 70, 5000}) {
    Case out;
    out.name = fmt::format("sample_into/{}", vocabulary);
    out.op = "sample_into";
    out.bound = kBits;
    out.basic = vocabulary == 70;
    const auto rows = static_cast<int64_t>(std::size(kRows));
    const Host logits = normal({rows, vocabulary}, 5, DType::F32, 2.0);
    Numbers settings, expected;
    for (int64_t r = 0; r < rows; ++r) {
      const Row& row = kRows[r];
      std::vector<std::pair<double, int64_t>> sorted;
      sorted.reserve(static_cast<size_t>(vocabulary));
      for (int64_t i = 0; i < vocabulary; ++i) {
        sorted.emplace_back(-logits.values[static_cast<size_t>(r * vocabulary + i)], i);
      }
      std::ranges::sort(sorted);
      sorted.resize(std::min<size_t>({sorted.size(), 64, static_cast<size_t>(row.top_k)}));
      Numbers shares;
      double sum = 0, reached = 0;
      for (const auto& [value, index] : sorted) {
        const double scale = std::max(row.temperature, 1e-9);
        shares.push_back(std::exp((sorted[0].first - value) / scale));
        sum += shares.back();
      }
      size_t kept = 0;
      while (kept < shares.size() && (kept == 0 || reached < row.top_p * sum)) {
        reached += shares[kept++];
      }
      while (kept > 1 && shares[kept - 1] < row.min_p) {
        reached -= shares[--kept];
      }
      const size_t wanted = std::min(static_cast<size_t>(row.wanted), kept - 1);
      double before = 0;
      for (size_t i = 0; i < wanted; ++i) {
        before += shares[i];
      }
      settings.insert(settings.end(), {row.temperature, row.top_k, row.top_p, row.min_p,
                                       (before + shares[wanted] / 2) / reached});
      expected.push_back(static_cast<double>(sorted[wanted].second));
    }
    const Host options = numbers({rows, 5}, settings);
    out.inputs = [=] { return Hosts{logits, options}; };
    out.run = [](const Tensors& in, const Device& device) {
      const Tensor ids = Tensor::zeros({in[0].dim(0)}, DType::U32, device);
      sample_into(in[0], in[1], ids);
      return Tensors{ids};
    };
    out.reference = [expected](const Hosts&) { return std::vector<Numbers>{expected}; };
    table.push_back(out);
  }
}

void add_penalise(Table& table) {
  for (const int64_t vocabulary : {7, 300, 70001}) {
    Case out;
    out.name = fmt::format("penalise_into/{}", vocabulary);
    out.op = "penalise_into";
    out.basic = vocabulary == 300;
    out.inputs = [vocabulary] {
      Host marks = normal({3, vocabulary}, 8, DType::F32);
      for (double& mark : marks.values) {
        mark = mark > 1.5 ? 3 : mark > 1 ? 2 : mark > 0.5 ? 1 : 0;
      }
      marks.dtype = DType::U32;
      // The last row's newest token is no token at all.
      return Hosts{normal({3, vocabulary}, 7), numbers({3}, {0, 6, 1e9}, DType::U32), marks,
                   numbers({3}, {1.05, 2.0, 0.5})};
    };
    out.run = [](const Tensors& in, const Device&) {
      const Tensor logits = in[0].copy();
      const Tensor marks = in[2].copy();
      penalise_into(logits, in[1], marks, in[3]);
      return Tensors{logits, marks};
    };
    out.reference = [vocabulary](const Hosts& in) {
      Numbers logits = in[0].values;
      Numbers marks = in[2].values;
      const auto width = static_cast<size_t>(vocabulary);
      marks[0] += static_cast<int>(marks[0]) % 2 == 0 ? 1 : 0;
      marks[width + 6] += static_cast<int>(marks[width + 6]) % 2 == 0 ? 1 : 0;
      for (size_t i = 0; i < logits.size(); ++i) {
        const double penalty = in[3].values[i / width];
        const auto mark = static_cast<int>(marks[i]);
        if (mark % 2 == 1) {
          logits[i] = logits[i] > 0 ? logits[i] / penalty : logits[i] * penalty;
        }
        if (mark >= 2) {
          logits[i] = -3.0e38;
        }
      }
      return std::vector<Numbers>{logits, marks};
    };
    table.push_back(out);
  }
}

void add_argmax_into(Table& table) {
  for (const int64_t columns : {1, 65, 5000}) {
    Case out;
    out.name = fmt::format("argmax_into/{}_columns", columns);
    out.op = "argmax_into";
    out.bound = kBits;
    out.basic = columns == 65;
    out.inputs = [columns] {
      return Hosts{normal({3, columns}, 4), numbers({5}, {9, 9, 9, 9, 9}, DType::U32)};
    };
    out.run = [](const Tensors& in, const Device&) {
      argmax_into(in[0], in[1].narrow(0, 1, 3));
      return Tensors{in[1]};
    };
    out.reference = [columns](const Hosts& in) {
      Numbers ids(5, 9.0);
      for (size_t row = 0; row < 3; ++row) {
        const auto width = static_cast<size_t>(columns);
        ids[row + 1] = argmax_of(std::span(in[0].values).subspan(row * width, width));
      }
      return std::vector<Numbers>{ids};
    };
    table.push_back(out);
  }
}

}  // namespace

void add_reduce(Table& table) {
  add_sample(table);
  add_penalise(table);
  add_argmax_into(table);
  add_reductions(table);
  add_softmax(table);
  add_scans(table);
  add_top_k(table);
}

}  // namespace candela::parity
