#pragma once

#include <functional>
#include <span>
#include <vector>

#include "engine/request.h"
#include "engine/stats.h"
#include "models/model.h"

namespace candela::engine {

/// Settings of the loop that are not part of a request.
struct GenerateOptions {
  int64_t prefill_chunk = 2048;  ///< tokens a forward pass: bounds its memory
  bool all_logits = false;       ///< keep the logits of every step, for trace and tests
  nn::Trace trace = {};          ///< of the prompt's forward pass; needs prompts of one chunk
};

struct Generation {
  std::vector<Answer> answers;  ///< one for each request
  Stats stats;
  /// With all_logits: for each request the rows [vocab] that its tokens were drawn from.
  std::vector<std::vector<std::vector<float>>> step_logits;
};

/// Continues all requests together: prefill one after the other, then one token of each per step.
/// Sequences of different lengths share steps without padding.
Generation generate(models::TextDecoder& model,
                    nn::KvCache& cache,
                    std::span<const Request> requests,
                    const GenerateOptions& options,
                    const TokenSink& sink);

}  // namespace candela::engine
