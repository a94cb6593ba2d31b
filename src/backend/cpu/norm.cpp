#include <cmath>
#include <limits>

#include "backend/cpu/cpu_backend.h"
#include "backend/cpu/loops.h"
#include "backend/cpu/simd.h"
#include "backend/cpu/storage.h"

namespace candela::cpu {

namespace {

/// Calls `body(x row, y row)`, both gapless floats of the last dimension.
template <typename Body>
void map_rows(ThreadPool& pool, const char* op, const View& x, const View& y, Body&& body) {
  const std::byte* from = input(x, op);
  std::byte* to = output(y, op);
  const int64_t n = x.dim(-1);
  pool.parallel_for(row_count(x.layout), row_grain(n * 4), [&](int64_t begin, int64_t end) {
    std::vector<float> buffer(static_cast<size_t>(n));
    FloatRow out(op, y, to);
    for (int64_t row = begin; row < end; ++row) {
      const float* values = floats_of(op, x.dtype, from, row_offset(x.layout, row),
                                      x.layout.stride(-1), n, buffer.data());
      const int64_t offset = row_offset(y.layout, row);
      body(values, out.at(offset));
      out.done(offset);
    }
  });
}

double sum_of_squares(const float* x, int64_t n) {
  double sums[4] = {};  // four chains, or the adder's latency rules
  for (int64_t i = 0; i < n; ++i) {
    const auto value = static_cast<double>(x[i]);
    sums[i % 4] += value * value;
  }
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

float rms_scale(const float* x, int64_t n, float eps) {
  const double mean = sum_of_squares(x, n) / static_cast<double>(n);
  return static_cast<float>(1.0 / std::sqrt(mean + static_cast<double>(eps)));
}

void layer_norm_row(
    const float* x, const float* weight, const float* bias, int64_t n, float eps, float* y) {
  double sum = 0.0;
  for (int64_t i = 0; i < n; ++i) {
    sum += static_cast<double>(x[i]);
  }
  const double mean = sum / static_cast<double>(n);
  double square = 0.0;
  for (int64_t i = 0; i < n; ++i) {
    const double centred = static_cast<double>(x[i]) - mean;
    square += centred * centred;
  }
  const double scale = 1.0 / std::sqrt(square / static_cast<double>(n) + static_cast<double>(eps));
  for (int64_t i = 0; i < n; ++i) {
    const double centred = static_cast<double>(x[i]) - mean;
    y[i] = static_cast<float>(centred * scale) * weight[i] + bias[i];
  }
}

/// Rotates one head.
void rotate(
    const float* x, const float* cos, const float* sin, int64_t half, bool interleaved, float* y) {
  for (int64_t i = 0; i < half; ++i) {
    const int64_t first = interleaved ? 2 * i : i;
    const int64_t second = interleaved ? 2 * i + 1 : i + half;
    const float a = x[first];
    const float b = x[second];
    y[first] = a * cos[i] - b * sin[i];
    y[second] = b * cos[i] + a * sin[i];
  }
}

}  // namespace

void CpuBackend::softmax(const View& x, const View& y) {
  count();
  map_rows(pool_, "softmax", x, y,
           [n = x.dim(-1)](const float* row, float* to) { simd().softmax(row, n, to); });
}

void CpuBackend::log_softmax(const View& x, const View& y) {
  count();
  constexpr float kMasked = -std::numeric_limits<float>::infinity();
  map_rows(pool_, "log_softmax", x, y, [n = x.dim(-1)](const float* row, float* to) {
    float top = kMasked;
    for (int64_t i = 0; i < n; ++i) {
      top = row[i] > top ? row[i] : top;
    }
    if (top == kMasked) {
      std::fill_n(to, n, 0.0f);
      return;
    }
    double sum = 0.0;
    for (int64_t i = 0; i < n; ++i) {
      sum += static_cast<double>(std::exp(row[i] - top));
    }
    const double shift = static_cast<double>(top) + std::log(sum);
    for (int64_t i = 0; i < n; ++i) {
      to[i] = static_cast<float>(static_cast<double>(row[i]) - shift);
    }
  });
}

void CpuBackend::rms_norm(const View& x, const View& weight, float eps, const View& y) {
  count();
  const std::vector<float> w = all_floats("rms_norm", weight);
  map_rows(pool_, "rms_norm", x, y, [&, n = x.dim(-1)](const float* row, float* to) {
    const float scale = rms_scale(row, n, eps);
    for (int64_t i = 0; i < n; ++i) {
      to[i] = row[i] * scale * w[static_cast<size_t>(i)];
    }
  });
}

void CpuBackend::layer_norm(
    const View& x, const View& weight, const View& bias, float eps, const View& y) {
  count();
  const std::vector<float> w = all_floats("layer_norm", weight);
  const std::vector<float> b = all_floats("layer_norm", bias);
  map_rows(pool_, "layer_norm", x, y, [&, n = x.dim(-1)](const float* row, float* to) {
    layer_norm_row(row, w.data(), b.data(), n, eps, to);
  });
}

void CpuBackend::rope(const RopeArgs& args, const View& y) {
  count();
  const std::vector<uint32_t> positions = all_ids("rope", args.positions);
  const View& x = args.x;
  const int64_t heads = x.dim(1);
  const int64_t dim = x.dim(2);
  const int64_t half = dim / 2;
  for (size_t i = 0; i < positions.size(); ++i) {
    if (positions[i] >= args.cos.dim(0)) {
      fail_id("rope", positions[i], static_cast<int64_t>(i), args.cos.dim(0));
    }
  }
  const auto* cos =
      reinterpret_cast<const float*>(input(args.cos, "rope")) + args.cos.layout.offset;
  const auto* sin =
      reinterpret_cast<const float*>(input(args.sin, "rope")) + args.sin.layout.offset;
  const std::vector<float> weight =
      args.norm_weight ? all_floats("rope", *args.norm_weight) : std::vector<float>();
  const std::byte* from = input(x, "rope");
  std::byte* to = output(y, "rope");
  pool_.parallel_for(x.dim(0) * heads, row_grain(dim), [&](int64_t begin, int64_t end) {
    std::vector<float> buffer(static_cast<size_t>(dim));
    std::vector<float> normed(static_cast<size_t>(dim));
    FloatRow out("rope", y, to);
    for (int64_t row = begin; row < end; ++row) {
      const float* values = floats_of("rope", x.dtype, from, row_offset(x.layout, row),
                                      x.layout.stride(-1), dim, buffer.data());
      if (!weight.empty()) {
        const float scale = rms_scale(values, dim, args.norm_eps);
        for (size_t i = 0; i < normed.size(); ++i) {
          normed[i] = values[i] * scale * weight[i];
        }
        values = normed.data();
      }
      const int64_t position = positions[static_cast<size_t>(row / heads)];
      const int64_t offset = row_offset(y.layout, row);
      rotate(values, cos + position * half, sin + position * half, half, args.interleaved,
             out.at(offset));
      out.done(offset);
    }
  });
}

void CpuBackend::swiglu(const View& gate, const View& up, const View& y) {
  count();
  const std::byte* gates = input(gate, "swiglu");
  const std::byte* ups = input(up, "swiglu");
  std::byte* to = output(y, "swiglu");
  const auto layouts = merged_layouts(gate, up, y);
  const int64_t sg = layouts[0].stride(-1);
  const int64_t su = layouts[1].stride(-1);
  const int64_t sy = layouts[2].stride(-1);
  pool_.parallel_for(y.elements(), kGrain / 8, [&](int64_t begin, int64_t end) {
    float buffer1[kChunk];
    float buffer2[kChunk];
    float out[kChunk];
    walk_runs(layouts, begin, end, [&](const auto& at, int64_t run) {
      for (int64_t i = 0; i < run; i += kChunk) {
        const int64_t n = std::min(kChunk, run - i);
        const float* g = floats_of("swiglu", gate.dtype, gates, at[0] + i * sg, sg, n, buffer1);
        const float* u = floats_of("swiglu", up.dtype, ups, at[1] + i * su, su, n, buffer2);
        simd().swiglu(g, u, n, out);
        store_floats("swiglu", out, y.dtype, to, at[2] + i * sy, sy, n);
      }
    });
  });
}

void CpuBackend::snake_beta(const View& x, const View& alpha, const View& beta, const View& y) {
  count();
  const std::vector<float> a = all_floats("snake_beta", alpha);
  const std::vector<float> b = all_floats("snake_beta", beta);
  const std::byte* from = input(x, "snake_beta");
  std::byte* to = output(y, "snake_beta");
  const int64_t channels = x.dim(1);
  const int64_t n = x.dim(2);
  pool_.parallel_for(x.dim(0) * channels, row_grain(n * 8), [&](int64_t begin, int64_t end) {
    std::vector<float> buffer(static_cast<size_t>(n));
    FloatRow out("snake_beta", y, to);
    for (int64_t row = begin; row < end; ++row) {
      const float* values = floats_of("snake_beta", x.dtype, from, row_offset(x.layout, row),
                                      x.layout.stride(-1), n, buffer.data());
      const auto channel = static_cast<size_t>(row % channels);
      const float frequency = std::exp(a[channel]);
      const float factor = 1.0f / (std::exp(b[channel]) + 1e-9f);
      const int64_t offset = row_offset(y.layout, row);
      float* results = out.at(offset);
      for (int64_t i = 0; i < n; ++i) {
        const float wave = std::sin(values[i] * frequency);
        results[i] = values[i] + factor * wave * wave;
      }
      out.done(offset);
    }
  });
}

}  // namespace candela::cpu
