#include "cli/bench_kernels.h"

#include <fmt/format.h>

#include <charconv>
#include <nlohmann/json.hpp>
#include <random>

#include "base/error.h"
#include "cli/interrupt.h"
#include "cli/terminal.h"
#include "engine/engine.h"
#include "tensor/ops.h"

namespace candela::cli {

namespace {

using nlohmann::ordered_json;

/// Time to measure for, after as much to let the device reach its clock.
constexpr double kSeconds = 0.25;
constexpr int kSamples = 64;

struct MatmulShape {
  int64_t m = 0, n = 0, k = 0;
};

struct MatmulResult {
  double seconds = 0.0;
  double nmse = 0.0;
  std::vector<KernelTime> kernels;
};

MatmulShape parse_shape(const std::string& text) {
  MatmulShape shape;
  const char* at = text.data();
  const char* const end = text.data() + text.size();
  for (int64_t* size : {&shape.m, &shape.n, &shape.k}) {
    const auto [stop, error] = std::from_chars(at, end, *size);
    const bool last = size == &shape.k;
    if (error != std::errc() || *size < 1 || (last ? stop != end : stop == end || *stop != ',')) {
      fail(ErrorKind::InvalidArgument, Subject::Usage,
           "--matmul {} is not M,N,K: rows of x, rows of the weight, columns of both.", text);
    }
    at = stop + (last ? 0 : 1);
  }
  return shape;
}

/// Mean square error of sampled elements over their mean square.
double sampled_error(const Tensor& x, const Tensor& weight, const Tensor& y) {
  std::mt19937_64 engine(1);
  double error = 0.0;
  double square = 0.0;
  for (int i = 0; i < kSamples; ++i) {
    const auto t = static_cast<int64_t>(engine() % static_cast<uint64_t>(y.dim(0)));
    const auto o = static_cast<int64_t>(engine() % static_cast<uint64_t>(y.dim(1)));
    const auto a = x.narrow(0, t, 1).to_dtype(DType::F32).copy().to_vec<float>();
    const auto b = weight.narrow(0, o, 1).to_dtype(DType::F32).copy().to_vec<float>();
    double sum = 0.0;
    for (size_t k = 0; k < a.size(); ++k) {
      sum += static_cast<double>(a[k]) * static_cast<double>(b[k]);
    }
    const double got = y.narrow(0, t, 1).narrow(1, o, 1).copy().to_vec<float>()[0];
    error += (got - sum) * (got - sum);
    square += sum * sum;
  }
  return square > 0.0 ? error / square : 0.0;
}

MatmulResult measure(
    const Device& device, Profile profile, const MatmulShape& shape, DType x_dtype, DType dtype) {
  const Tensor x = Tensor::randn({shape.m, shape.k}, 0.0, 1.0, 1, device).to_dtype(x_dtype);
  const Tensor weight = Tensor::empty({shape.n, shape.k}, dtype, device, "bench weight");
  weight.copy_from(Tensor::randn({shape.n, shape.k}, 0.0, 0.05, 2, device));
  MatmulResult result;
  result.nmse = sampled_error(x, weight, linear(x, weight));
  const auto run = [&](int times) {
    const engine::Stopwatch watch;
    for (int i = 0; i < times; ++i) {
      linear(x, weight);
    }
    device.synchronize();
    return watch.seconds();
  };
  int times = 1;
  while (run(times) < kSeconds) {
    throw_if_interrupted();
    times *= 2;
  }
  device.backend().take_profile();
  result.seconds = run(times) / times;
  if (profile == Profile::Kernels) {
    result.kernels = device.backend().take_profile();
  }
  return result;
}

}  // namespace

int bench_matmul(const DeviceFlags& flags, const std::vector<std::string>& shapes, bool json) {
  std::vector<MatmulShape> parsed;
  parsed.reserve(shapes.size());
  for (const std::string& text : shapes) {
    parsed.push_back(parse_shape(text));
  }
  ordered_json results = ordered_json::array();
  std::string name;
  for (const char* precision : {"fast", "exact"}) {
    DeviceFlags chosen = flags;
    chosen.precision = precision;
    const Device device = chosen.open(true);
    if (!json && name.empty()) {
      write_out(device.name() + "\n");
    }
    name = device.name();
    for (const MatmulShape& shape : parsed) {
      for (const auto& [x_dtype, dtype] : {std::pair{DType::F32, DType::BF16},
                                           {DType::F32, DType::F16},
                                           {DType::F16, DType::F16}}) {
        const MatmulResult result = measure(device, flags.profile, shape, x_dtype, dtype);
        const double products =
            static_cast<double>(shape.m) * static_cast<double>(shape.n * shape.k);
        const double flops = 2.0 * products / result.seconds;
        const double bytes = static_cast<double>(shape.n * shape.k * 2) / result.seconds;
        if (json) {
          results.push_back({{"m", shape.m},
                             {"n", shape.n},
                             {"k", shape.k},
                             {"x", dtype_name(x_dtype)},
                             {"weight", dtype_name(dtype)},
                             {"precision", precision},
                             {"seconds", result.seconds},
                             {"flops_per_second", flops},
                             {"weight_bytes_per_second", bytes},
                             {"nmse", result.nmse}});
          continue;
        }
        write_out(
            fmt::format("linear {:>5} x {:>6} x {:>5} {:3} x {:4} {:5}: {:9.1f} us {:7.1f} TFLOP/s "
                        "{:7.1f} GB/s of "
                        "weights, NMSE {:.1e}\n",
                        shape.m, shape.n, shape.k, dtype_name(x_dtype), dtype_name(dtype),
                        precision, result.seconds * 1e6, flops / 1e12, bytes / 1e9, result.nmse));
        for (const KernelTime& time : result.kernels) {
          write_out(fmt::format("  {:60} {:9.1f} us\n", time.name,
                                time.nanoseconds / 1e3 / static_cast<double>(time.count)));
        }
      }
    }
  }
  if (json) {
    write_out(ordered_json{{"schema_version", 1}, {"device", name}, {"results", results}}.dump(2) +
              "\n");
  }
  return 0;
}

}  // namespace candela::cli
