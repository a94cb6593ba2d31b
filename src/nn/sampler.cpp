#include "nn/sampler.h"

#include <algorithm>
#include <cmath>
#include <string_view>

#include "base/error.h"

namespace candela::nn {

namespace {

void require(bool good, std::string_view option, double value, std::string_view range) {
  if (!good) {
    fail(ErrorKind::InvalidArgument, Subject::Usage, "{} is {}, it must be {}.", option, value,
         range);
  }
}

[[noreturn]] void refuse_all_suppressed(size_t tokens) {
  fail(ErrorKind::InvalidArgument, Subject::Usage, "Every one of {} tokens is suppressed.", tokens);
}

bool better(const Candidate& a, const Candidate& b) {
  return a.value != b.value ? a.value > b.value : a.id < b.id;
}

/// Turns sorted logits into probabilities.
void softmax_in_place(std::vector<Candidate>& candidates) {
  const double best = candidates.front().value;
  double total = 0.0;
  for (const Candidate& candidate : candidates) {
    total += std::exp(candidate.value - best);
  }
  for (Candidate& candidate : candidates) {
    candidate.value = static_cast<float>(std::exp(candidate.value - best) / total);
  }
}

void keep_top_p(std::vector<Candidate>& sorted, double p) {
  std::vector<Candidate> probabilities = sorted;
  softmax_in_place(probabilities);
  double total = 0.0;
  size_t kept = 0;
  while (kept < sorted.size() && (kept == 0 || total < p)) {
    total += probabilities[kept++].value;
  }
  sorted.resize(kept);
}

void keep_min_p(std::vector<Candidate>& sorted, double p) {
  // p(i) >= p * p(best) is a statement about the distance of two logits.
  const double lowest = sorted.front().value + std::log(p);
  const auto end = std::ranges::find_if(
      sorted, [&](const Candidate& candidate) { return candidate.value < lowest; });
  sorted.erase(end, sorted.end());
}

}  // namespace

void SamplingOptions::check() const {
  require(temperature >= 0.0f && temperature <= 100.0f, "--temp", temperature, "between 0 and 100");
  require(top_k >= 0, "--top-k", static_cast<double>(top_k), "0 or more");
  require(top_p > 0.0f && top_p <= 1.0f, "--top-p", top_p, "above 0 and at most 1");
  require(min_p >= 0.0f && min_p <= 1.0f, "--min-p", min_p, "between 0 and 1");
  require(repetition_penalty > 0.0f && repetition_penalty <= 100.0f, "--repeat-penalty",
          repetition_penalty, "above 0 and at most 100");
}

Sampler::Sampler(const SamplingOptions& options) : options_(options), engine_(options.seed) {
  options_.check();
}

std::vector<Candidate> Sampler::narrow(std::vector<Candidate> candidates) const {
  if (options_.top_k > 0 && options_.top_k < static_cast<int64_t>(candidates.size())) {
    const auto middle = candidates.begin() + options_.top_k;
    std::nth_element(candidates.begin(), middle, candidates.end(), better);
    candidates.erase(middle, candidates.end());
  }
  std::ranges::sort(candidates, better);
  if (options_.temperature != 1.0f && !options_.greedy()) {
    // Distances from the best logit: a tiny temperature then gives -inf and no NaN.
    const float best = candidates.front().value;
    for (Candidate& candidate : candidates) {
      candidate.value = (candidate.value - best) / options_.temperature;
    }
  }
  if (options_.top_p < 1.0f) {
    keep_top_p(candidates, options_.top_p);
  }
  if (options_.min_p > 0.0f) {
    keep_min_p(candidates, options_.min_p);
  }
  softmax_in_place(candidates);
  return candidates;
}

std::vector<Candidate> Sampler::penalised(std::span<const float> logits,
                                          std::span<const uint32_t> history) const {
  std::vector<Candidate> candidates(logits.size());
  for (size_t i = 0; i < logits.size(); ++i) {
    if (!std::isfinite(logits[i])) {
      fail(ErrorKind::Internal, Subject::Device,
           "The logit of token {} is {}; the weights or the device are broken, try `candela "
           "doctor`.",
           i, logits[i]);
    }
    candidates[i] = {static_cast<uint32_t>(i), logits[i]};
  }
  if (options_.repetition_penalty != 1.0f) {
    for (const uint32_t id : history) {
      if (id < logits.size()) {
        // From the original logit, so that a token that occurs twice is punished once.
        const float logit = logits[id];
        candidates[id].value = logit > 0.0f ? logit / options_.repetition_penalty
                                            : logit * options_.repetition_penalty;
      }
    }
  }
  return candidates;
}

std::vector<Candidate> Sampler::filter(std::span<const float> logits,
                                       std::span<const uint32_t> history) const {
  std::vector<Candidate> candidates = penalised(logits, history);
  if (!options_.suppress.empty()) {
    std::erase_if(candidates, [&](const Candidate& candidate) {
      return std::ranges::find(options_.suppress, candidate.id) != options_.suppress.end();
    });
  }
  if (candidates.empty()) {
    refuse_all_suppressed(logits.size());
  }
  return narrow(std::move(candidates));
}

bool Sampler::fits_device() const {
  return options_.greedy() ||
         (options_.top_k >= 1 && options_.top_k <= SampleArgs::kMostCandidates);
}

std::array<float, SampleArgs::kSettings> Sampler::device_settings() {
  const float decides = options_.greedy() ? 0.0f : static_cast<float>(uniform());
  // Rounding may not reach 1, which lies behind all shares.
  return {options_.temperature, static_cast<float>(options_.top_k), options_.top_p, options_.min_p,
          std::min(decides, 0x1.fffffep-1f)};
}

std::vector<uint32_t> Sampler::device_marks(int64_t vocabulary,
                                            std::span<const uint32_t> history) const {
  std::vector<uint32_t> marks(static_cast<size_t>(vocabulary));
  const auto mark = [&](std::span<const uint32_t> ids, uint32_t bit) {
    for (const uint32_t id : ids) {
      if (id < marks.size()) {
        marks[id] |= bit;
      }
    }
  };
  mark(history, PenaliseArgs::kSaid);
  mark(options_.suppress, PenaliseArgs::kNever);
  if (std::ranges::all_of(marks, [](uint32_t m) { return (m & PenaliseArgs::kNever) != 0; })) {
    refuse_all_suppressed(marks.size());
  }
  return marks;
}

double Sampler::uniform() {
  // Made by hand: std::uniform_real_distribution differs among standard libraries.
  return static_cast<double>(engine_() >> 11) * 0x1p-53;
}

uint32_t Sampler::draw(const std::vector<Candidate>& candidates) {
  if (options_.greedy()) {
    return candidates.front().id;
  }
  double left = uniform();
  for (const Candidate& candidate : candidates) {
    left -= candidate.value;
    if (left < 0.0) {
      return candidate.id;
    }
  }
  return candidates.back().id;
}

uint32_t Sampler::pick(std::span<const float> logits, std::span<const uint32_t> history) {
  return draw(filter(logits, history));
}

uint32_t Sampler::pick(std::vector<Candidate> best) {
  return draw(narrow(std::move(best)));
}

}  // namespace candela::nn
