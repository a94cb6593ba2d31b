#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace candela::engine {

/// Measures of one generation. Times in seconds.
struct Stats {
  int64_t prompt_tokens = 0;
  int64_t new_tokens = 0;
  double prefill_seconds = 0.0;  ///< submit to first token
  double decode_seconds = 0.0;   ///< first to last token
  int64_t decode_steps = 0;
  uint64_t decode_dispatches = 0;  ///< of all decode steps together
  uint64_t decode_readbacks = 0;
  int64_t host_steps = 0;  ///< whose tokens the host drew from the logits: slower

  double prefill_rate() const;  ///< tokens a second; 0 if unknown
  double decode_rate() const;
};

/// "prompt 36 tokens in 0.52 s (69.2 tokens/s) · answer 64 tokens in 2.62 s (30.0 tokens/s) · ..."
std::string summary(const Stats& stats);

/// Seconds since it was made or restarted.
class Stopwatch {
 public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }
  void restart() { start_ = std::chrono::steady_clock::now(); }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace candela::engine
