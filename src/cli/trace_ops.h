#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "tensor/tensor.h"

namespace candela::cli {

/// Runs the single operations of an OPS.json (cases with op, params, inputs, outputs) on the device
/// and writes their outputs under the same keys to `out`. Ops that candela does not have are
/// counted. @return how many cases ran
int trace_ops(const std::string& ops_path,
              const std::string& case_prefix,
              const Device& device,
              const std::string& out);

}  // namespace candela::cli
