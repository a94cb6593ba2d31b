#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "models/text/config.h"

namespace candela::engine {

/// One line of the memory plan.
struct PlanLine {
  std::string what;
  uint64_t bytes = 0;
};

/// What a model needs on the device: weights as they lie, cache, working memory of a prefill.
struct MemoryPlan {
  std::vector<PlanLine> lines;
  uint64_t total() const;
};

/// @param weight_bytes  of all tensors that are loaded
/// @param positions     of all sequences together
MemoryPlan plan_memory(const models::TextConfig& config,
                       uint64_t weight_bytes,
                       int64_t positions,
                       DType kv_type,
                       int64_t prefill_chunk);

/// "12.3 GiB", "4.0 MiB".
std::string format_bytes(uint64_t bytes);
/// "weights 56.9 GiB + cache 3.0 GiB + work 0.1 GiB = 60.0 GiB"
std::string summary(const MemoryPlan& plan);

}  // namespace candela::engine
