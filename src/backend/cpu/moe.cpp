#include "backend/cpu/cpu_backend.h"
#include "backend/cpu/dot_rows.h"
#include "backend/cpu/loops.h"
#include "backend/cpu/simd.h"
#include "backend/cpu/storage.h"
#include "backend/cpu/topk.h"

namespace candela::cpu {

namespace {

/// The tokens of one expert.
struct Group {
  int64_t expert = 0;
  int64_t first = 0;  // of its pairs
  int64_t count = 0;
};

/// All (token, choice) pairs, sorted by expert and within one by token.
struct Routing {
  std::vector<Group> groups;
  std::vector<int64_t> tokens;  // of each pair
  std::vector<float> weights;

  explicit Routing(const MoeArgs& args) {
    const std::vector<uint32_t> chosen = all_ids("moe", args.experts);
    const std::vector<float> all_weights = all_floats("moe", args.weights);
    const int64_t experts = args.gate.dim(0);
    const int64_t k = args.experts.dim(1);
    std::vector<int64_t> next(static_cast<size_t>(experts) + 1, 0);
    for (size_t i = 0; i < chosen.size(); ++i) {
      if (chosen[i] >= experts) {
        fail_id("moe", chosen[i], static_cast<int64_t>(i), experts);
      }
      ++next[chosen[i] + size_t{1}];
    }
    for (size_t e = 0; e < static_cast<size_t>(experts); ++e) {
      if (next[e + 1] > 0) {
        groups.push_back({static_cast<int64_t>(e), next[e], next[e + 1]});
      }
      next[e + 1] += next[e];
    }
    tokens.resize(chosen.size());
    weights.resize(chosen.size());
    for (size_t i = 0; i < chosen.size(); ++i) {
      const auto at = static_cast<size_t>(next[chosen[i]]++);
      tokens[at] = static_cast<int64_t>(i) / k;
      weights[at] = all_weights[i];
    }
  }
};

/// Pointers to consecutive rows of a gapless matrix.
template <typename T>
std::vector<T*> row_pointers(T* data, int64_t rows, int64_t stride) {
  std::vector<T*> out;
  out.reserve(static_cast<size_t>(rows));
  for (int64_t row = 0; row < rows; ++row) {
    out.push_back(data + row * stride);
  }
  return out;
}

/// The matrices of one call; X is float, or BFloat16 for rounded rows.
struct Experts {
  const Products& products;
  const Routing& routing;
  WeightRows gate, up, down;
  int64_t n, inner, outputs;

  Experts(const Products& how, const Routing& routes, const MoeArgs& args)
      : products(how),
        routing(routes),
        gate("moe", args.gate),
        up("moe", args.up),
        down("moe", args.down),
        n(args.gate.dim(2)),
        inner(args.gate.dim(1)),
        outputs(args.down.dim(1)) {}

  int64_t groups() const { return static_cast<int64_t>(routing.groups.size()); }

  /// silu(gate x) * up x of all pairs: `put` receives a pair, its first inner row and the values.
  template <typename X, typename Put>
  void gate_up(ThreadPool& pool, std::span<const X* const> x, const Put& put) const {
    products.over_rows<X>(
        pool, groups(), inner, row_grain(2 * n), [&](int64_t group, int64_t begin, int64_t end) {
          gate_up_rows(routing.groups[static_cast<size_t>(group)], x, begin, end, put);
        });
  }

  /// Adds the weighted outputs to y. Split by outputs, not by experts: each element of y is summed
  /// by one thread, in one order.
  template <typename X>
  void add_down(ThreadPool& pool,
                std::span<const X* const> hidden,
                std::span<float* const> y,
                int64_t step) const {
    const int64_t work = inner * std::max<int64_t>(groups(), 1);
    products.over_rows<X>(pool, 1, outputs, row_grain(work),
                          [&](int64_t, int64_t begin, int64_t end) {
                            for (const Group& group : routing.groups) {
                              add_down_rows(group, hidden, begin, end, y, step);
                            }
                          });
  }

 private:
  template <typename X, typename Put>
  void gate_up_rows(const Group& group,
                    std::span<const X* const> x,
                    int64_t begin,
                    int64_t end,
                    const Put& put) const {
    const int64_t width = end - begin;
    std::vector<const X*> rows;
    for (int64_t pair = group.first; pair < group.first + group.count; ++pair) {
      rows.push_back(x[static_cast<size_t>(routing.tokens[static_cast<size_t>(pair)])]);
    }
    std::vector<float> gates(static_cast<size_t>(group.count * width));
    std::vector<float> ups(gates.size());
    const auto gate_rows = row_pointers(gates.data(), group.count, width);
    const auto up_rows = row_pointers(ups.data(), group.count, width);
    const int64_t first = group.expert * inner + begin;
    const std::span<const X* const> all(rows);
    products(all, n, gate, first, 0, width, {gate_rows.data()});
    products(all, n, up, first, 0, width, {up_rows.data()});
    simd().swiglu(gates.data(), ups.data(), group.count * width, gates.data());
    for (size_t i = 0; i < rows.size(); ++i) {
      put(group.first + static_cast<int64_t>(i), begin,
          std::span<const float>(gate_rows[i], static_cast<size_t>(width)));
    }
  }

  template <typename X>
  void add_down_rows(const Group& group,
                     std::span<const X* const> hidden,
                     int64_t begin,
                     int64_t end,
                     std::span<float* const> y,
                     int64_t step) const {
    const int64_t width = end - begin;
    std::vector<float> results(static_cast<size_t>(group.count * width));
    const auto out = row_pointers(results.data(), group.count, width);
    const auto first = static_cast<size_t>(group.first);
    products(hidden.subspan(first, out.size()), inner, down, group.expert * outputs + begin, 0,
             width, {out.data()});
    for (size_t i = 0; i < out.size(); ++i) {
      float* to = y[static_cast<size_t>(routing.tokens[first + i])] + begin * step;
      for (int64_t o = 0; o < width; ++o) {
        to[o * step] += routing.weights[first + i] * out[i][o];
      }
    }
  }
};

}  // namespace

void CpuBackend::moe_route(const MoeRouteArgs& args, const View& experts, const View& weights) {
  count();
  const View& logits = args.logits;
  const std::byte* from = input(logits, "moe_route");
  auto* chosen = reinterpret_cast<uint32_t*>(output(experts, "moe_route"));
  auto* shares = reinterpret_cast<float*>(output(weights, "moe_route"));
  if (experts.dtype != DType::U32 || weights.dtype != DType::F32) {
    fail_dtype("moe_route", experts.dtype != DType::U32 ? experts.dtype : weights.dtype);
  }
  const int64_t n = logits.dim(1);
  const int64_t k = experts.dim(1);
  std::vector<float> row(static_cast<size_t>(n));
  std::vector<float> best(static_cast<size_t>(k));
  std::vector<uint32_t> places(static_cast<size_t>(k));
  for (int64_t token = 0; token < logits.dim(0); ++token) {
    load_floats("moe_route", logits.dtype, from, row_offset(logits.layout, token),
                logits.layout.stride(1), n, row.data());
    simd().softmax(row.data(), n, row.data());
    largest(row.data(), n, k, best.data(), places.data());
    float sum = 0.0f;
    for (const float value : best) {
      sum += value;
    }
    const float scale = args.normalize ? 1.0f / sum : 1.0f;
    for (int64_t i = 0; i < k; ++i) {
      const auto at = static_cast<size_t>(i);
      chosen[row_offset(experts.layout, token) + i * experts.layout.stride(1)] = places[at];
      shares[row_offset(weights.layout, token) + i * weights.layout.stride(1)] = best[at] * scale;
    }
  }
}

void CpuBackend::moe(const MoeArgs& args, const View& y) {
  count();
  if (y.dtype != DType::F32) {
    fail_dtype("moe", y.dtype);
  }
  const Routing routing(args);
  if (args.residual) {
    copy(*args.residual, y);
  } else {
    fill(y, 0.0);
  }
  const FloatRows x("moe", args.x);
  const Experts experts(products_, routing, args);
  const auto pairs = static_cast<int64_t>(routing.tokens.size());
  const auto rows = row_pointers(reinterpret_cast<float*>(output(y, "moe")) + y.layout.offset,
                                 y.dim(0), y.layout.stride(0));
  const int64_t step = y.layout.stride(1);
  const auto rounds = [&](const WeightRows& weight) {
    return products_.rounds(y.dim(0), weight.dtype());
  };
  if (rounds(experts.gate) && rounds(experts.up) && rounds(experts.down)) {
    const RoundedRows inputs = rounded(pool_, x.rows(), experts.n);
    RoundedRows hidden(pairs, experts.inner);
    experts.gate_up(pool_, inputs.rows(),
                    [&](int64_t pair, int64_t begin, std::span<const float> values) {
                      hidden.set(pair, begin, values);
                    });
    experts.add_down(pool_, hidden.rows(), rows, step);
    return;
  }
  std::vector<float> hidden(static_cast<size_t>(pairs * experts.inner));
  experts.gate_up(pool_, x.rows(), [&](int64_t pair, int64_t begin, std::span<const float> values) {
    std::ranges::copy(values, hidden.data() + pair * experts.inner + begin);
  });
  const auto hidden_rows = row_pointers<const float>(hidden.data(), pairs, experts.inner);
  experts.add_down(pool_, std::span<const float* const>(hidden_rows), rows, step);
}

}  // namespace candela::cpu
