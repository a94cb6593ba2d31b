#pragma once

#include <string>
#include <vector>

#include "cli/options.h"

namespace candela::cli {

/// Times `linear` of M rows with an N x K weight for each "M,N,K" of `shapes`, with BF16 and F16
/// weights in both precision classes, and compares samples with sums in double precision.
int bench_matmul(const DeviceFlags& device, const std::vector<std::string>& shapes, bool json);

}  // namespace candela::cli
