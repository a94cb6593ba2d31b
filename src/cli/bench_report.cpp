#include "cli/bench_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "engine/stats.h"
#include "tensor/ops.h"

namespace candela::cli {

namespace {

using nlohmann::ordered_json;

bool is_slow(const Device& device) {
  return device.kind() == DeviceKind::Cpu || device.limits().software;
}

/// Seconds of linear(x, weight), shortest of a few.
double seconds_of(const Device& device, const Tensor& x, const Tensor& weight) {
  constexpr int kRounds = 5;
  double least = HUGE_VAL;
  linear(x, weight);
  device.synchronize();
  for (int round = 0; round < 3; ++round) {
    const engine::Stopwatch watch;
    for (int i = 0; i < kRounds; ++i) {
      linear(x, weight);
    }
    device.synchronize();
    least = std::min(least, watch.seconds() / kRounds);
  }
  return least;
}

Tensor constant(const Shape& shape, DType dtype, const Device& device) {
  Tensor tensor = Tensor::empty(shape, dtype, device, "peak probe");
  tensor.copy_from(Tensor::full({1, 1}, 0.01, DType::F32, device));
  return tensor;
}

/// "1234.5" and "67 %" of the peak in two cells; empty where the kernel did not tell its work.
std::string rate_cells(double work, double seconds, double unit, double peak) {
  if (work == 0.0 || seconds == 0.0) {
    return fmt::format(" {:>8} | {:>5} |", "", "");
  }
  const double rate = work / seconds;
  return fmt::format(" {:>8.1f} | {:>5} |", rate / unit,
                     peak > 0.0 ? fmt::format("{:.0f} %", 100.0 * rate / peak) : "");
}

std::string kernel_table(const Peak& peak, std::span<const KernelTime> kernels) {
  size_t width = 6;
  double total = 0.0;
  for (const KernelTime& kernel : kernels) {
    width = std::max(width, kernel.name.size());
    total += kernel.nanoseconds;
  }
  std::string text = fmt::format(
      "Matrix x matrix: {:.1f} TFLOP/s. One pass a dispatch; bytes and operations are the least "
      "that is needed, of experts as many as even routing would choose.\n| {:{}} | {:>8} | {:>9} | "
      "{:>5} | {:>8} | {:>5} | {:>8} | {:>5} |\n",
      peak.flops_per_second / 1e12, "kernel", width, "times", "us", "share", "GB/s", "peak",
      "TFLOP/s", "peak");
  for (const KernelTime& kernel : kernels) {
    const double seconds = kernel.nanoseconds / 1e9;
    text += fmt::format("| {:{}} | {:>8} | {:>9.1f} | {:>3.0f} % |", kernel.name, width,
                        kernel.count, seconds * 1e6 / static_cast<double>(kernel.count),
                        100.0 * kernel.nanoseconds / std::max(total, 1.0));
    text += rate_cells(kernel.bytes, seconds, 1e9, peak.bytes_per_second);
    text += rate_cells(kernel.flops, seconds, 1e12, peak.flops_per_second) + "\n";
  }
  return text;
}

/// Times of single kernels since the model was loaded; none unless each had a pass of its own.
std::vector<KernelTime> take_kernels(const Device& device) {
  std::vector<KernelTime> kernels = device.backend().take_profile();
  std::erase_if(kernels, [](const KernelTime& kernel) { return kernel.name == "pass"; });
  return kernels;
}

}  // namespace

double BenchRow::mean() const {
  return std::accumulate(tokens_per_second.begin(), tokens_per_second.end(), 0.0) /
         static_cast<double>(tokens_per_second.size());
}

double BenchRow::deviation() const {
  double sum = 0.0;
  for (const double value : tokens_per_second) {
    sum += (value - mean()) * (value - mean());
  }
  return tokens_per_second.size() < 2
             ? 0.0
             : std::sqrt(sum / static_cast<double>(tokens_per_second.size() - 1));
}

Peak measure_peak(const Device& device, bool with_flops) {
  constexpr int64_t kWidth = 2048;
  Peak peak;
  const int64_t rows = is_slow(device) ? 16384 : 262144;
  peak.bytes_per_second = static_cast<double>(rows * kWidth * 2) /
                          seconds_of(device, Tensor::ones({1, kWidth}, DType::F32, device),
                                     constant({rows, kWidth}, DType::BF16, device));
  if (with_flops) {
    const int64_t size = is_slow(device) ? 256 : 4096;
    const bool cores = device.limits().subgroup_matrix;
    const double seconds =
        seconds_of(device, constant({size, kWidth}, cores ? DType::F16 : DType::F32, device),
                   constant({size, kWidth}, cores ? DType::F16 : DType::BF16, device));
    peak.flops_per_second = 2.0 * static_cast<double>(size * size * kWidth) / seconds;
  }
  return peak;
}

std::string text_report(const Device& device, const Peak& peak, std::span<const BenchRow> rows) {
  std::string text = fmt::format(
      "{}\nBF16 matrix x vector: {:.1f} GB/s\n"
      "| {:16} | {:>20} | {:>9} | {:>10} | {:>7} | {:>9} | {:>7} |\n",
      device.name(), peak.bytes_per_second / 1e9, "test", "tokens/s", "ms a pass", "dispatches",
      "GB", "bandwidth", "idle");
  for (const BenchRow& row : rows) {
    const bool known = row.bytes > 0.0;
    text += fmt::format(
        "| {:16} | {:>11.2f} ± {:>6.2f} | {:>9.2f} | {:>10.1f} | {:>7} | {:>9} | {:>7} |\n",
        row.test, row.mean(), row.deviation(), row.milliseconds(), row.dispatches_per_token,
        known ? fmt::format("{:.2f}", row.bytes / 1e9) : "",
        known ? fmt::format("{:.0f} %", 100.0 * row.mean() * row.bytes / peak.bytes_per_second)
              : "",
        row.busy_seconds > 0 ? fmt::format("{:.1f} %", 100.0 * row.idle()) : "");
  }
  const std::vector<KernelTime> kernels = take_kernels(device);
  return kernels.empty() ? text : text + kernel_table(peak, kernels);
}

std::string json_report(const Device& device, const Peak& peak, std::span<const BenchRow> rows) {
  ordered_json out{{"schema_version", 1},
                   {"device", device.name()},
                   {"bytes_per_second", peak.bytes_per_second},
                   {"results", ordered_json::array()}};
  for (const BenchRow& row : rows) {
    out["results"].push_back({{"test", row.test},
                              {"tokens_per_second", row.mean()},
                              {"deviation", row.deviation()},
                              {"samples", row.tokens_per_second},
                              {"milliseconds", row.milliseconds()},
                              {"dispatches_per_token", row.dispatches_per_token},
                              {"readbacks_per_token", row.readbacks_per_token}});
    if (row.busy_seconds > 0) {
      out["results"].back()["idle"] = row.idle();
    }
    if (row.bytes > 0) {
      out["results"].back()["bytes_per_token"] = row.bytes;
    }
  }
  if (const std::vector<KernelTime> kernels = take_kernels(device); !kernels.empty()) {
    out["flops_per_second"] = peak.flops_per_second;
    out["kernels"] = ordered_json::array();
    for (const KernelTime& kernel : kernels) {
      out["kernels"].push_back({{"kernel", kernel.name},
                                {"times", kernel.count},
                                {"seconds", kernel.nanoseconds / 1e9},
                                {"bytes", kernel.bytes},
                                {"operations", kernel.flops}});
    }
  }
  out["device_bytes"] = device.counters().bytes_in_use;
  return out.dump(2) + "\n";
}

}  // namespace candela::cli
