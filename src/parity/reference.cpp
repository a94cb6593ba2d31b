#include "parity/reference.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace candela::parity {

namespace {

size_t at(int64_t value) {
  return static_cast<size_t>(value);
}

double silu(double x) {
  return x / (1.0 + std::exp(-x));
}

double dot(const double* a, const double* b, int64_t n) {
  return std::inner_product(a, a + n, b, 0.0);
}

}  // namespace

Numbers ref_matmul(const Host& a, const Host& b) {
  const int64_t m = a.shape[-2], k = a.shape[-1], n = b.shape[-1];
  int64_t batches = 1;
  for (int axis = 0; axis + 2 < a.shape.rank(); ++axis) {
    batches *= a.shape[axis];
  }
  Numbers out(at(batches * m * n));
  for (int64_t row = 0; row < batches * m; ++row) {
    const int64_t batch = row / m;
    for (int64_t col = 0; col < n; ++col) {
      double sum = 0.0;
      for (int64_t i = 0; i < k; ++i) {
        sum += a.values[at(row * k + i)] * b.values[at((batch * k + i) * n + col)];
      }
      out[at(row * n + col)] = sum;
    }
  }
  return out;
}

Numbers ref_linear(const Host& x, const Host& weight, const Host* bias, const Host* residual) {
  const int64_t rows = x.shape[0], in = weight.shape[1], out = weight.shape[0];
  Numbers y(at(rows * out));
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t o = 0; o < out; ++o) {
      double sum = dot(x.values.data() + row * in, weight.values.data() + o * in, in);
      sum += bias != nullptr ? bias->values[at(o)] : 0.0;
      sum += residual != nullptr ? residual->values[at(row * out + o)] : 0.0;
      y[at(row * out + o)] = sum;
    }
  }
  return y;
}

Numbers ref_softmax(const Host& x, bool log) {
  return by_rows(x, [&](std::span<const double> in, std::span<double> out) {
    const double largest = *std::ranges::max_element(in);
    double sum = 0.0;
    for (const double value : in) {
      sum += std::isinf(value) ? 0.0 : std::exp(value - largest);
    }
    for (size_t i = 0; i < in.size(); ++i) {
      const double shifted = in[i] - largest;
      if (std::isinf(largest)) {
        out[i] = 0.0;
      } else {
        out[i] = log ? shifted - std::log(sum) : std::exp(shifted) / sum;
      }
    }
  });
}

Numbers ref_rms_norm(const Host& x, const Host& weight, double eps) {
  return by_rows(x, [&](std::span<const double> in, std::span<double> out) {
    const auto n = static_cast<double>(in.size());
    const double power = dot(in.data(), in.data(), static_cast<int64_t>(in.size())) / n;
    for (size_t i = 0; i < in.size(); ++i) {
      out[i] = in[i] / std::sqrt(power + eps) * weight.values[i];
    }
  });
}

Numbers ref_layer_norm(const Host& x, const Host& weight, const Host& bias, double eps) {
  return by_rows(x, [&](std::span<const double> in, std::span<double> out) {
    const auto n = static_cast<double>(in.size());
    const double mean = std::accumulate(in.begin(), in.end(), 0.0) / n;
    double variance = 0.0;
    for (const double value : in) {
      variance += (value - mean) * (value - mean) / n;
    }
    for (size_t i = 0; i < in.size(); ++i) {
      out[i] = (in[i] - mean) / std::sqrt(variance + eps) * weight.values[i] + bias.values[i];
    }
  });
}

Numbers ref_rope(const Host& x,
                 const Host& cos,
                 const Host& sin,
                 const Host& positions,
                 bool interleaved,
                 const Host* norm_weight,
                 double eps) {
  const int64_t heads = x.shape[1], dim = x.shape[2], half = dim / 2;
  Host in = x;
  if (norm_weight != nullptr) {
    in.values = ref_rms_norm(x, *norm_weight, eps);
  }
  Numbers out(x.values.size());
  for (int64_t row = 0; row < x.shape[0] * heads; ++row) {
    const auto table = static_cast<int64_t>(positions.values[at(row / heads)]) * half;
    for (int64_t i = 0; i < half; ++i) {
      const size_t first = at(row * dim + (interleaved ? 2 * i : i));
      const size_t second = at(row * dim + (interleaved ? 2 * i + 1 : i + half));
      const double c = cos.values[at(table + i)], s = sin.values[at(table + i)];
      out[first] = in.values[first] * c - in.values[second] * s;
      out[second] = in.values[second] * c + in.values[first] * s;
    }
  }
  return out;
}

Numbers ref_attention(
    const Host& q, const Host& k, const Host& v, const Host& spans, double scale) {
  const int64_t heads = q.shape[0], tokens = q.shape[1], dim = q.shape[2], keys = k.shape[1];
  Numbers out(at(tokens * heads * dim), 0.0);
  for (int64_t h = 0; h < heads; ++h) {
    const int64_t group = h * k.shape[0] / heads;
    for (int64_t t = 0; t < tokens; ++t) {
      const auto begin = static_cast<int64_t>(spans.values[at(t * 2)]);
      const auto end = static_cast<int64_t>(spans.values[at(t * 2 + 1)]);
      Numbers scores;
      for (int64_t s = begin; s < end; ++s) {
        scores.push_back(scale * dot(q.values.data() + (h * tokens + t) * dim,
                                     k.values.data() + (group * keys + s) * dim, dim));
      }
      if (scores.empty()) {
        continue;
      }
      const double largest = *std::ranges::max_element(scores);
      double sum = 0.0;
      for (double& score : scores) {
        score = std::exp(score - largest);
        sum += score;
      }
      for (int64_t s = begin; s < end; ++s) {
        for (int64_t d = 0; d < dim; ++d) {
          out[at((t * heads + h) * dim + d)] +=
              scores[at(s - begin)] / sum * v.values[at((group * keys + s) * dim + d)];
        }
      }
    }
  }
  return out;
}

namespace {

// The keys of one sequence as [kv_heads, keys, dim].
Host sequence(const Host& cache, const Host& pages, int64_t which) {
  const int64_t kv_heads = cache.shape[1], page = cache.shape[2], dim = cache.shape[3];
  Host out;
  out.shape = Shape{kv_heads, pages.shape[1] * page, dim};
  for (int64_t h = 0; h < kv_heads; ++h) {
    for (int64_t s = 0; s < out.shape[1]; ++s) {
      const auto p = static_cast<int64_t>(pages.values[at(which * pages.shape[1] + s / page)]);
      const auto begin = cache.values.begin() + ((p * kv_heads + h) * page + s % page) * dim;
      out.values.insert(out.values.end(), begin, begin + dim);
    }
  }
  return out;
}

}  // namespace

Numbers ref_paged_attention(const Host& q,
                            const Host& k_cache,
                            const Host& v_cache,
                            const Host& spans,
                            const Host& pages,
                            double scale) {
  const int64_t tokens = q.shape[0], heads = q.shape[1], dim = q.shape[2];
  Numbers out;
  for (int64_t t = 0; t < tokens; ++t) {
    const auto begin = q.values.begin() + t * heads * dim;
    Host query;
    query.shape = Shape{heads, 1, dim};
    query.values.assign(begin, begin + heads * dim);
    const auto which = static_cast<int64_t>(spans.values[at(t * 3 + 2)]);
    const Host span = numbers({1, 2}, {spans.values[at(t * 3)], spans.values[at(t * 3 + 1)]});
    const Numbers y = ref_attention(query, sequence(k_cache, pages, which),
                                    sequence(v_cache, pages, which), span, scale);
    out.insert(out.end(), y.begin(), y.end());
  }
  return out;
}

std::vector<Numbers> ref_moe_route(const Host& logits, int64_t k, bool normalize) {
  const int64_t experts = logits.shape[1];
  const Numbers shares = ref_softmax(logits, false);
  Numbers indices, weights;
  for (int64_t t = 0; t < logits.shape[0]; ++t) {
    std::vector<int64_t> order(at(experts));
    std::iota(order.begin(), order.end(), 0);
    std::ranges::stable_sort(order, [&](int64_t a, int64_t b) {
      return logits.values[at(t * experts + a)] > logits.values[at(t * experts + b)];
    });
    double sum = 0.0;
    for (int64_t j = 0; j < k; ++j) {
      sum += shares[at(t * experts + order[at(j)])];
    }
    for (int64_t j = 0; j < k; ++j) {
      indices.push_back(static_cast<double>(order[at(j)]));
      weights.push_back(shares[at(t * experts + order[at(j)])] / (normalize ? sum : 1.0));
    }
  }
  return {indices, weights};
}

Numbers ref_moe(const Host& x,
                const Host& experts,
                const Host& weights,
                const Host& gate,
                const Host& up,
                const Host& down,
                const Host* residual) {
  const int64_t tokens = x.shape[0], hidden = x.shape[1], inner = gate.shape[1];
  const int64_t k = experts.shape[1];
  Numbers out = residual != nullptr ? residual->values : Numbers(at(tokens * hidden), 0.0);
  Numbers middle(at(inner));
  for (int64_t pair = 0; pair < tokens * k; ++pair) {
    const int64_t t = pair / k;
    const auto e = static_cast<int64_t>(experts.values[at(pair)]);
    const double* row = x.values.data() + t * hidden;
    for (int64_t i = 0; i < inner; ++i) {
      const int64_t matrix_row = (e * inner + i) * hidden;
      middle[at(i)] = silu(dot(gate.values.data() + matrix_row, row, hidden)) *
                      dot(up.values.data() + matrix_row, row, hidden);
    }
    for (int64_t i = 0; i < hidden; ++i) {
      out[at(t * hidden + i)] +=
          weights.values[at(pair)] *
          dot(down.values.data() + (e * hidden + i) * inner, middle.data(), inner);
    }
  }
  return out;
}

Numbers ref_conv2d(const Host& x, const Host& weight, const Host* bias, const RefConv& o) {
  const int64_t in = x.shape[1], height = x.shape[2], width = x.shape[3];
  const int64_t out = weight.shape[0], per_group = weight.shape[1];
  const int64_t kh = weight.shape[2], kw = weight.shape[3];
  const int64_t rows = (height + o.top + o.bottom - (kh - 1) * o.dilation_h - 1) / o.stride_h + 1;
  const int64_t cols = (width + o.left + o.right - (kw - 1) * o.dilation_w - 1) / o.stride_w + 1;
  Numbers y;
  for (int64_t i = 0; i < x.shape[0] * out * rows * cols; ++i) {
    const int64_t col = i % cols, row = i / cols % rows, channel = i / (cols * rows) % out;
    const int64_t batch = i / (cols * rows * out);
    const int64_t first = channel / (out / o.groups) * per_group;
    double sum = bias != nullptr ? bias->values[at(channel)] : 0.0;
    for (int64_t tap = 0; tap < per_group * kh * kw; ++tap) {
      const int64_t c = tap / (kh * kw);
      const int64_t h = row * o.stride_h - o.top + tap / kw % kh * o.dilation_h;
      const int64_t w = col * o.stride_w - o.left + tap % kw * o.dilation_w;
      if (h >= 0 && h < height && w >= 0 && w < width) {
        sum += x.values[at(((batch * in + first + c) * height + h) * width + w)] *
               weight.values[at(channel * per_group * kh * kw + tap)];
      }
    }
    y.push_back(sum);
  }
  return y;
}

Numbers ref_conv_transpose1d(const Host& x,
                             const Host& weight,
                             const Host* bias,
                             int64_t stride,
                             int64_t groups,
                             int64_t trim_left,
                             int64_t trim_right) {
  const int64_t batch = x.shape[0], in = x.shape[1], time = x.shape[2];
  const int64_t per_group = weight.shape[1], taps = weight.shape[2], out = per_group * groups;
  const int64_t full = (time - 1) * stride + taps;
  Numbers y;
  for (int64_t row = 0; row < batch * out; ++row) {
    const int64_t o = row % out, group = o / per_group;
    Numbers line(at(full), bias != nullptr ? bias->values[at(o)] : 0.0);
    for (int64_t c = group * (in / groups); c < (group + 1) * (in / groups); ++c) {
      for (int64_t t = 0; t < time; ++t) {
        for (int64_t k = 0; k < taps; ++k) {
          line[at(t * stride + k)] += x.values[at((row / out * in + c) * time + t)] *
                                      weight.values[at((c * per_group + o % per_group) * taps + k)];
        }
      }
    }
    y.insert(y.end(), line.begin() + trim_left, line.end() - trim_right);
  }
  return y;
}

}  // namespace candela::parity
