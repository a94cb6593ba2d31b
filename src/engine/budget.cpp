#include "engine/budget.h"

#include <fmt/format.h>

#include <algorithm>

#include "nn/kv_cache.h"

namespace candela::engine {

uint64_t MemoryPlan::total() const {
  uint64_t sum = 0;
  for (const PlanLine& line : lines) {
    sum += line.bytes;
  }
  return sum;
}

MemoryPlan plan_memory(const models::TextConfig& config,
                       uint64_t weight_bytes,
                       int64_t positions,
                       DType kv_type,
                       int64_t prefill_chunk) {
  const nn::KvCache::Sizes cache{.layers = config.layers,
                                 .kv_heads = config.kv_heads,
                                 .head_dim = config.head_dim,
                                 .dtype = kv_type};
  const int64_t cached = positions * nn::KvCache::bytes_per_position(cache) +
                         nn::KvCache::recent_bytes(cache, prefill_chunk);
  // Live at once in a layer, F32: residual, normalised rows, queries, context, experts' inner rows.
  const int64_t inner = config.experts > 0 ? config.experts_per_token * config.moe_intermediate_size
                                           : 2 * config.intermediate_size;
  const int64_t per_token =
      4 * (3 * config.hidden_size + 3 * config.heads * config.head_dim + inner);
  const int64_t work = prefill_chunk * per_token + 8 * config.vocab_size;
  return {{{"weights", weight_bytes},
           {"cache", static_cast<uint64_t>(cached)},
           {"work", static_cast<uint64_t>(work)}}};
}

std::string format_bytes(uint64_t bytes) {
  const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1024.0 && unit + 1 < std::size(units)) {
    value /= 1024.0;
    ++unit;
  }
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", value, units[unit]);
}

std::string summary(const MemoryPlan& plan) {
  std::string text;
  for (const PlanLine& line : plan.lines) {
    text += fmt::format("{}{} {}", text.empty() ? "" : " + ", line.what, format_bytes(line.bytes));
  }
  return text + " = " + format_bytes(plan.total());
}

}  // namespace candela::engine
