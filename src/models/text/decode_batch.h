#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "models/text/decoder.h"
#include "nn/sampler.h"

namespace candela::models {

/// One sequence of a batch.
struct DecodeRow {
  nn::KvSequence* sequence = nullptr;
  uint32_t last = 0;               ///< its newest token, not in the cache yet
  nn::Sampler* sampler = nullptr;  ///< one that fits the device; null: takes the largest logit
  std::span<const uint32_t> history = {};  ///< what its repetition penalty counts so far
};

/// Continues several sequences by one token a step. The drawn ids stay on the device, where they
/// are the next step's input, so that steps can be handed over ahead of the host's reading them.
///
/// Where the device captures work, a step is recorded once and replayed: for a batch rounded up to
/// a power of two, whose idle rows see no keys and write none, and for a context rounded up, so
/// that it is recorded anew only every few hundred positions.
class DecodeBatch {
 public:
  /// Everything but the histories outlives the batch.
  /// @throws InvalidArgument if a sampler suppresses every token
  DecodeBatch(TextDecoder& model, nn::KvCache& cache, std::span<const DecodeRow> rows);

  /// Hands one more step to the device and advances the sequences by one position.
  /// @throws OutOfMemory if the cache is full
  void submit();
  /// Waits for the oldest step handed over: the drawn id of each sequence.
  /// @throws Internal if a logit is not a number
  std::vector<uint32_t> take();
  size_t in_flight() const { return steps_.size(); }

 private:
  /// What a recorded step depends on.
  struct Shape {
    int64_t span = 0, cache = 0, positions = 0;
    bool operator==(const Shape&) const = default;
  };

  void mark_histories(std::span<const DecodeRow> rows);
  void prepare(const Shape& shape);
  void upload();
  void upload_pages();
  void upload_settings();

  TextDecoder& model_;
  nn::KvCache& cache_;
  std::vector<nn::KvSequence*> sequences_;
  std::vector<nn::Sampler*> samplers_;  ///< some null; empty: all take the largest logit
  int64_t rows_;                        ///< with idle ones
  Shape shape_;
  nn::Step step_;
  Tensor ids_, inputs_, settings_;
  Tensor marks_, penalties_;     ///< of penalise_into; none if nobody penalises
  std::vector<uint32_t> pages_;  ///< what lies in step_.pages
  std::shared_ptr<const Captured> captured_;
  std::deque<std::unique_ptr<Readback>> steps_;
};

}  // namespace candela::models
