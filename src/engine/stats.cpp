#include "engine/stats.h"

#include <fmt/format.h>

namespace candela::engine {

namespace {

double rate(int64_t count, double seconds) {
  return seconds > 0.0 ? static_cast<double>(count) / seconds : 0.0;
}

}  // namespace

double Stats::prefill_rate() const {
  return rate(prompt_tokens, prefill_seconds);
}
double Stats::decode_rate() const {
  return rate(decode_steps, decode_seconds);
}

std::string summary(const Stats& stats) {
  std::string text = fmt::format("prompt {} tokens in {:.2f} s ({:.1f} tokens/s)",
                                 stats.prompt_tokens, stats.prefill_seconds, stats.prefill_rate());
  if (stats.decode_steps > 0) {
    text += fmt::format(" · answer {} tokens in {:.2f} s ({:.1f} tokens/s)", stats.new_tokens,
                        stats.prefill_seconds + stats.decode_seconds, stats.decode_rate());
  }
  if (stats.decode_dispatches > 0) {
    text += fmt::format(" · {} dispatches a token",
                        stats.decode_dispatches / static_cast<uint64_t>(stats.decode_steps));
  }
  if (stats.host_steps > 0) {
    text += fmt::format(" · {} steps drawn on the host", stats.host_steps);
  }
  return text;
}

}  // namespace candela::engine
