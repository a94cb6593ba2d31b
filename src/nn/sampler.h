#pragma once

#include <array>
#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include "backend/op_args.h"

namespace candela::nn {

/// How the next token is drawn. Neutral values: temperature 1, top_k 0, top_p 1, min_p 0,
/// repetition_penalty 1. Temperature 0 means greedy.
struct SamplingOptions {
  float temperature = 0.0f;
  int64_t top_k = 0;   ///< keep the k best; 0: all
  float top_p = 1.0f;  ///< keep the fewest best whose probabilities reach p
  float min_p = 0.0f;  ///< keep those of at least min_p times the best probability
  float repetition_penalty = 1.0f;
  std::vector<uint32_t> suppress = {};  ///< ids that are never drawn
  uint64_t seed = 0;

  bool greedy() const { return temperature == 0.0f; }
  /// Whether logits are changed by what was said before, or ids are never drawn.
  bool penalises() const { return repetition_penalty != 1.0f || !suppress.empty(); }
  /// @throws InvalidArgument naming option, value and range
  void check() const;
};

/// One candidate token.
struct Candidate {
  uint32_t id = 0;
  float value = 0.0f;  ///< logit, later probability
};

/// Draws tokens on the host. Order of operations as in the reference: repetition penalty,
/// suppression, temperature, top-k, top-p, min-p, softmax, draw.
class Sampler {
 public:
  explicit Sampler(const SamplingOptions& options);

  const SamplingOptions& options() const { return options_; }
  /// The id drawn from the logits of one row. `history`: ids that the penalty counts.
  /// @throws Internal if a logit is not finite
  uint32_t pick(std::span<const float> logits, std::span<const uint32_t> history);
  /// The same from a row's best logits, largest first: valid if top_k is at most their number and
  /// neither penalty nor suppression is asked for.
  uint32_t pick(std::vector<Candidate> best);

  /// Whether `sample_into` on the device, after `penalise_into` if it penalises, draws as this
  /// sampler does: from at most 64 candidates.
  bool fits_device() const;
  /// A row of settings for it, with the next number that decides.
  std::array<float, SampleArgs::kSettings> device_settings();
  /// A row of marks for `penalise_into`. @throws InvalidArgument if every token is suppressed
  std::vector<uint32_t> device_marks(int64_t vocabulary, std::span<const uint32_t> history) const;

  /// All tokens by id with their logits after the repetition penalty.
  /// @throws Internal if a logit is not finite
  std::vector<Candidate> penalised(std::span<const float> logits,
                                   std::span<const uint32_t> history) const;
  /// Candidates with their probabilities, best first: everything before the draw.
  std::vector<Candidate> filter(std::span<const float> logits,
                                std::span<const uint32_t> history) const;

 private:
  std::vector<Candidate> narrow(std::vector<Candidate> candidates) const;
  uint32_t draw(const std::vector<Candidate>& candidates);
  double uniform();

  SamplingOptions options_;
  std::mt19937_64 engine_;
};

}  // namespace candela::nn
