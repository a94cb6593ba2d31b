#include "backend/cpu/cpu_backend.h"
#include "backend/cpu/dot_rows.h"
#include "backend/cpu/loops.h"
#include "backend/cpu/simd.h"
#include "backend/cpu/storage.h"

namespace candela::cpu {

namespace {

// Output positions whose inputs are laid side by side at a time.
constexpr int64_t kPositions = 64;

std::vector<float> bias_of(const char* op, const std::optional<View>& bias, int64_t outputs) {
  return bias ? all_floats(op, *bias) : std::vector<float>(static_cast<size_t>(outputs), 0.0f);
}

/// A convolution over a grid of height x width; one dimension is a grid of height 1.
struct Grid {
  const char* op;
  int64_t in, out, groups;
  int64_t height, width, out_height, out_width;
  int64_t taps_h, taps_w;
  int64_t stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;

  int64_t depth() const { return in / groups * taps_h * taps_w; }
  int64_t positions() const { return out_height * out_width; }

  /// The inputs of one output position in the order of a weight row, zero outside of x.
  void gather(const float* x, int64_t group, int64_t position, float* to) const {
    const int64_t top = position / out_width * stride_h - pad_h;
    const int64_t left = position % out_width * stride_w - pad_w;
    const int64_t channels = in / groups;
    for (int64_t c = group * channels; c < (group + 1) * channels; ++c) {
      for (int64_t i = 0; i < taps_h; ++i) {
        const int64_t row = top + i * dilation_h;
        const float* line = x + (c * height + row) * width;
        for (int64_t j = 0; j < taps_w; ++j) {
          const int64_t column = left + j * dilation_w;
          const bool inside = row >= 0 && row < height && column >= 0 && column < width;
          *to++ = inside ? line[column] : 0.0f;
        }
      }
    }
  }
};

/// Gapless weights wherever the view is gapless, else a copy; weights of convolutions are small.
class ConvWeight {
 public:
  ConvWeight(const char* op, const View& view, int64_t row)
      : packed_(view.layout.is_contiguous() ? std::vector<float>() : all_floats(op, view)),
        rows_(view.layout.is_contiguous()
                  ? WeightRows(op,
                               {view.storage,
                                Layout(Shape{view.elements() / std::max<int64_t>(row, 1), row},
                                       view.layout.offset),
                                view.dtype})
                  : WeightRows(packed_.data(), row)) {}
  const WeightRows& rows() const { return rows_; }

 private:
  std::vector<float> packed_;
  WeightRows rows_;
};

/// One batch element and group: positions go block by block, outputs over the threads.
void convolve(ThreadPool& pool,
              const Grid& grid,
              const float* x,
              const WeightRows& weight,
              const std::vector<float>& bias,
              int64_t group,
              float* y) {
  const int64_t depth = grid.depth();
  const int64_t outputs = grid.out / grid.groups;
  const int64_t all = grid.positions();
  std::vector<float> block(static_cast<size_t>(std::min(kPositions, all) * depth));
  for (int64_t start = 0; start < all; start += kPositions) {
    const int64_t count = std::min(kPositions, all - start);
    std::vector<const float*> rows(static_cast<size_t>(count));
    pool.parallel_for(count, row_grain(depth), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        float* to = block.data() + i * depth;
        grid.gather(x, group, start + i, to);
        rows[static_cast<size_t>(i)] = to;
      }
    });
    std::vector<float*> out(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) {
      out[static_cast<size_t>(i)] = y + group * outputs * all + start + i;
    }
    pool.parallel_for(outputs, row_grain(depth * count), [&](int64_t begin, int64_t end) {
      dot_rows(rows, depth, weight, group * outputs, begin, end, {out.data(), all});
      for (int64_t o = begin; o < end; ++o) {
        for (float* to : out) {
          to[o * all] += bias[static_cast<size_t>(group * outputs + o)];
        }
      }
    });
  }
}

/// Depthwise: one short row of taps for each channel, so shifted sums over whole lines.
void convolve_depthwise(ThreadPool& pool,
                        const Grid& grid,
                        const float* x,
                        const WeightRows& weight,
                        const std::vector<float>& bias,
                        float* y) {
  const int64_t taps = grid.taps_w;
  const int64_t per_channel = grid.out / grid.in;
  pool.parallel_for(grid.out, row_grain(grid.width * taps), [&](int64_t begin, int64_t end) {
    std::vector<float> w(static_cast<size_t>(taps));
    for (int64_t o = begin; o < end; ++o) {
      simd().of(weight.dtype()).widen(weight.row(o), taps, w.data());
      const float* from = x + o / per_channel * grid.width;
      float* to = y + o * grid.out_width;
      for (int64_t t = 0; t < grid.out_width; ++t) {
        float sum = 0.0f;
        for (int64_t k = 0; k < taps; ++k) {
          const int64_t at = t * grid.stride_w - grid.pad_w + k * grid.dilation_w;
          sum += at >= 0 && at < grid.width ? w[static_cast<size_t>(k)] * from[at] : 0.0f;
        }
        to[t] = sum + bias[static_cast<size_t>(o)];
      }
    }
  });
}

void run_grid(ThreadPool& pool,
              const Grid& grid,
              const View& x,
              const View& weight,
              const std::optional<View>& bias,
              const View& y,
              CpuBackend& backend) {
  if (y.elements() == 0) {
    return;
  }
  const std::vector<float> packed = x.layout.is_contiguous() && x.dtype == DType::F32
                                        ? std::vector<float>()
                                        : all_floats(grid.op, x);
  const float* from = packed.empty()
                          ? reinterpret_cast<const float*>(input(x, grid.op)) + x.layout.offset
                          : packed.data();
  const bool direct = y.layout.is_contiguous() && y.dtype == DType::F32;
  const View target = direct ? y : scratch(backend, y.shape());
  auto* to = reinterpret_cast<float*>(output(target, grid.op)) + target.layout.offset;
  const ConvWeight weights(grid.op, weight, grid.depth());
  const std::vector<float> biases = bias_of(grid.op, bias, grid.out);
  const bool depthwise = grid.groups == grid.in && grid.height == 1 && grid.taps_h == 1;
  for (int64_t batch = 0; batch < x.dim(0); ++batch) {
    const float* image = from + batch * grid.in * grid.height * grid.width;
    float* result = to + batch * grid.out * grid.positions();
    if (depthwise) {
      convolve_depthwise(pool, grid, image, weights.rows(), biases, result);
      continue;
    }
    for (int64_t group = 0; group < grid.groups; ++group) {
      convolve(pool, grid, image, weights.rows(), biases, group, result);
    }
  }
  if (!direct) {
    backend.copy(target, y);
  }
}

/// One output channel of a transposed convolution: for each tap a gapless sum over all inputs,
/// then spread to where the tap falls. `weight` rows are (input channel, output channel of its
/// group), taps long.
struct TransposedChannel {
  const ConvTranspose1dArgs& args;
  const std::vector<float>& x;
  const WeightRows& weight;

  void run(int64_t batch, int64_t o, float bias, float* y, int64_t length) {
    const int64_t time = args.x.dim(2);
    const int64_t taps = args.weight.dim(2);
    const int64_t outputs = args.weight.dim(1);
    const int64_t channels = args.x.dim(1) / args.groups;
    const int64_t first = o / outputs * channels;
    std::vector<float> line(static_cast<size_t>(taps));
    factors.resize(static_cast<size_t>(channels * taps));
    sums.assign(static_cast<size_t>(time * taps), 0.0f);
    std::vector<const std::byte*> lines;
    for (int64_t c = 0; c < channels; ++c) {
      simd()
          .of(weight.dtype())
          .widen(weight.row((first + c) * outputs + o % outputs), taps, line.data());
      for (int64_t k = 0; k < taps; ++k) {
        factors[static_cast<size_t>(k * channels + c)] = line[static_cast<size_t>(k)];
      }
      lines.push_back(reinterpret_cast<const std::byte*>(
          x.data() + (batch * args.x.dim(1) + first + c) * time));
    }
    std::vector<const float*> factor_rows;
    std::vector<float*> sum_rows;
    for (int64_t k = 0; k < taps; ++k) {
      factor_rows.push_back(factors.data() + k * channels);
      sum_rows.push_back(sums.data() + k * time);
    }
    simd()
        .of(DType::F32)
        .mix(factor_rows.data(), static_cast<int>(taps), lines.data(), channels, time,
             sum_rows.data());
    std::fill_n(y, length, bias);
    for (int64_t k = 0; k < taps; ++k) {
      for (int64_t t = 0; t < time; ++t) {
        const int64_t at = t * args.stride + k - args.trim_left;
        if (at >= 0 && at < length) {
          y[at] += sum_rows[static_cast<size_t>(k)][t];
        }
      }
    }
  }

  std::vector<float> factors = {};
  std::vector<float> sums = {};
};

}  // namespace

void CpuBackend::conv1d(const Conv1dArgs& args, const View& y) {
  count();
  const Grid grid{"conv1d",
                  args.x.dim(1),
                  args.weight.dim(0),
                  args.groups,
                  1,
                  args.x.dim(2),
                  1,
                  y.dim(2),
                  1,
                  args.weight.dim(2),
                  1,
                  args.stride,
                  0,
                  args.pad_left,
                  1,
                  args.dilation};
  run_grid(pool_, grid, args.x, args.weight, args.bias, y, *this);
}

void CpuBackend::conv2d(const Conv2dArgs& args, const View& y) {
  count();
  const Grid grid{"conv2d",           args.x.dim(1),      args.weight.dim(0), args.groups,
                  args.x.dim(2),      args.x.dim(3),      y.dim(2),           y.dim(3),
                  args.weight.dim(2), args.weight.dim(3), args.stride_h,      args.stride_w,
                  args.pad_h,         args.pad_w,         args.dilation_h,    args.dilation_w};
  run_grid(pool_, grid, args.x, args.weight, args.bias, y, *this);
}

void CpuBackend::conv_transpose1d(const ConvTranspose1dArgs& args, const View& y) {
  count();
  const char* op = "conv_transpose1d";
  const std::vector<float> x = all_floats(op, args.x);
  const ConvWeight weight(op, args.weight, args.weight.dim(2));
  const int64_t outputs = y.dim(1);
  const std::vector<float> bias = bias_of(op, args.bias, outputs);
  std::byte* to = output(y, op);
  const int64_t work = args.x.dim(1) * args.x.dim(2) * args.weight.dim(2);
  pool_.parallel_for(y.dim(0) * outputs, row_grain(work), [&](int64_t begin, int64_t end) {
    TransposedChannel channel{args, x, weight.rows()};
    FloatRow out(op, y, to);
    for (int64_t row = begin; row < end; ++row) {
      const int64_t offset = row_offset(y.layout, row);
      const int64_t o = row % outputs;
      channel.run(row / outputs, o, bias[static_cast<size_t>(o)], out.at(offset), y.dim(2));
      out.done(offset);
    }
  });
}

}  // namespace candela::cpu
