#pragma once

#include <span>
#include <string>
#include <vector>

#include "backend/device.h"

namespace candela::cli {

/// One measured quantity over the repetitions.
struct BenchRow {
  std::string test;
  std::vector<double> tokens_per_second;
  double tokens_a_pass = 1.0;  ///< of the whole prompt, or of one step of all sequences
  double bytes = 0.0;          ///< weights and cache that a decoded token reads; 0: not known
  double dispatches_per_token = 0.0, readbacks_per_token = 0.0;
  double busy_seconds = 0.0, seconds = 0.0;  ///< of the device and of the clock

  /// To the first token of a prompt, or of one step.
  double milliseconds() const { return 1e3 * tokens_a_pass / mean(); }
  /// Share of the time in which the device had nothing to do.
  double idle() const { return 1.0 - busy_seconds / seconds; }
  double mean() const;
  double deviation() const;
};

/// What the device itself reaches in the same run.
struct Peak {
  double bytes_per_second = 0.0;  ///< of a BF16 matrix that is multiplied by a vector
  double flops_per_second = 0.0;  ///< of a large product of matrices; 0: not measured
};
Peak measure_peak(const Device& device, bool with_flops);

/// The tables of `candela bench`, with the kernels' times where the device kept them.
std::string text_report(const Device& device, const Peak& peak, std::span<const BenchRow> rows);
/// The same as one JSON object.
std::string json_report(const Device& device, const Peak& peak, std::span<const BenchRow> rows);

}  // namespace candela::cli
