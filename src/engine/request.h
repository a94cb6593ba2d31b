#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "nn/sampler.h"

namespace candela::engine {

/// One sequence to continue.
struct Request {
  std::vector<uint32_t> ids;  ///< the prompt, at least one token
  int64_t max_new_tokens = 1024;
  nn::SamplingOptions sampling;
  std::vector<uint32_t> stop_ids;  ///< end the answer; part of `ids` of the answer, not of its text
  std::vector<std::string> stop_strings;  ///< end the answer; cut off
};

enum class FinishReason { Stop, Length, Cancelled };
const char* name_of(FinishReason reason);

/// What was generated for one request.
struct Answer {
  std::vector<uint32_t> ids;
  FinishReason reason = FinishReason::Length;
};

/// Receives each token as it is drawn; `request` is the index in the batch. Returning false ends
/// that request as cancelled.
using TokenSink = std::function<bool(size_t request, uint32_t id)>;

}  // namespace candela::engine
