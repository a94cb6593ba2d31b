#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "nn/kv_cache.h"
#include "tensor/tensor.h"

namespace candela::nn {

/// New tokens of one sequence in a forward pass.
struct StepRow {
  KvSequence* sequence = nullptr;
  std::span<const uint32_t> ids;  ///< at least one
  bool all_logits = false;        ///< logits of every token instead of the last one only
};

/// Everything about a forward pass that kernels read besides weights and cache: the tokens of all
/// sequences side by side, without padding, in one packed U32 upload.
struct Step {
  Tensor ids;        ///< U32 [tokens]
  Tensor positions;  ///< U32 [tokens]: rotary position
  Tensor slots;      ///< U32 [tokens]: where a token's key and value go, page * 64 + position % 64
  Tensor recent_slots;  ///< U32 [tokens]: the same in the cache's recent pages
  Tensor spans;         ///< U32 [tokens, 3]: first key, end, row of `pages`
  Tensor pages;         ///< U32 [sequences, max pages]
  Tensor logit_rows;    ///< U32 [n]: tokens whose logits are wanted
  int64_t tokens = 0;
  int64_t max_span = 0;    ///< longest context of any token
  bool every_row = false;  ///< logit_rows names all tokens in order
  bool lone = false;       ///< no sequence has more than one new token

  /// Reserves cache pages for the rows and packs them. Advances no sequence.
  static Step pack(std::span<const StepRow> rows, KvCache& cache, const Device& device);
};

}  // namespace candela::nn
