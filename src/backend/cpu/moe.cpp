#include "backend/cpu/cpu_backend.h"
#include "backend/cpu/dot_rows.h"
#include "backend/cpu/loops.h"
#include "backend/cpu/math.h"
#include "backend/cpu/softmax.h"
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

  Routing(const MoeArgs& args) {
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
  for (int64_t row = 0; row < rows; ++row) {
    out.push_back(data + row * stride);
  }
  return out;
}

/// hidden = silu(gate x) * up x for inner rows [begin, end) of one expert, all its tokens.
void gate_up(const Routing& routing,
             const Group& group,
             const FloatRows& x,
             int64_t n,
             const WeightRows& gate,
             const WeightRows& up,
             int64_t inner,
             int64_t begin,
             int64_t end,
             float* hidden) {
  const auto pairs = static_cast<size_t>(group.count);
  const int64_t width = end - begin;
  std::vector<const float*> rows(pairs);
  for (size_t i = 0; i < pairs; ++i) {
    const int64_t token = routing.tokens[static_cast<size_t>(group.first) + i];
    rows[i] = x.rows()[static_cast<size_t>(token)];
  }
  std::vector<float> ups(pairs * static_cast<size_t>(width));
  const auto up_rows = row_pointers(ups.data(), group.count, width);
  const auto gate_rows = row_pointers(hidden + group.first * inner + begin, group.count, inner);
  const int64_t first = group.expert * inner + begin;
  dot_rows(rows, n, gate, first, 0, width, {gate_rows.data()});
  dot_rows(rows, n, up, first, 0, width, {up_rows.data()});
  for (size_t i = 0; i < pairs; ++i) {
    for (int64_t o = 0; o < width; ++o) {
      gate_rows[i][o] = silu(gate_rows[i][o]) * up_rows[i][o];
    }
  }
}

/// Adds the weighted outputs [begin, end) of one expert to its tokens.
void add_down(const Routing& routing,
              const Group& group,
              const float* hidden,
              int64_t inner,
              const WeightRows& down,
              int64_t outputs,
              int64_t begin,
              int64_t end,
              std::span<float* const> y,
              int64_t step) {
  const int64_t width = end - begin;
  const auto rows = row_pointers(hidden + group.first * inner, group.count, inner);
  std::vector<float> results(static_cast<size_t>(group.count * width));
  const auto out = row_pointers(results.data(), group.count, width);
  dot_rows(rows, inner, down, group.expert * outputs + begin, 0, width, {out.data()});
  for (size_t i = 0; i < out.size(); ++i) {
    const size_t pair = static_cast<size_t>(group.first) + i;
    float* to = y[static_cast<size_t>(routing.tokens[pair])] + begin * step;
    for (int64_t o = 0; o < width; ++o) {
      to[o * step] += routing.weights[pair] * out[i][o];
    }
  }
}

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
    softmax_row(row.data(), n, row.data());
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
  const WeightRows gate("moe", args.gate);
  const WeightRows up("moe", args.up);
  const WeightRows down("moe", args.down);
  const int64_t inner = args.gate.dim(1);
  const int64_t n = args.gate.dim(2);
  const int64_t outputs = args.down.dim(1);
  const auto groups = static_cast<int64_t>(routing.groups.size());
  std::vector<float> hidden(routing.tokens.size() * static_cast<size_t>(inner));
  pool_.parallel_for(groups * inner, row_grain(2 * n), [&](int64_t begin, int64_t end) {
    while (begin < end) {
      const Group& group = routing.groups[static_cast<size_t>(begin / inner)];
      const int64_t from = begin % inner;
      const int64_t to = std::min(inner, from + end - begin);
      gate_up(routing, group, x, n, gate, up, inner, from, to, hidden.data());
      begin += to - from;
    }
  });
  const auto rows = row_pointers(reinterpret_cast<float*>(output(y, "moe")) + y.layout.offset,
                                 y.dim(0), y.layout.stride(0));
  // Split by outputs, not by experts: each element of y is summed by one thread, in one order.
  pool_.parallel_for(outputs, row_grain(inner * std::max<int64_t>(groups, 1)),
                     [&](int64_t begin, int64_t end) {
                       for (const Group& group : routing.groups) {
                         add_down(routing, group, hidden.data(), inner, down, outputs, begin, end,
                                  rows, y.layout.stride(1));
                       }
                     });
}

}  // namespace candela::cpu
