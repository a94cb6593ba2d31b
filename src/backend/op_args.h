#pragma once

#include <cstdint>
#include <optional>

#include "backend/storage.h"

namespace candela {

enum class UnaryKind {
#define CANDELA_UNARY(name, cpu, wgsl) name,
#define CANDELA_BINARY(name, cpu, wgsl)
#include "backend/elementwise.def"
#undef CANDELA_UNARY
#undef CANDELA_BINARY
};

enum class BinaryKind {
#define CANDELA_UNARY(name, cpu, wgsl)
#define CANDELA_BINARY(name, cpu, wgsl) name,
#include "backend/elementwise.def"
#undef CANDELA_UNARY
#undef CANDELA_BINARY
};

const char* name_of(UnaryKind kind);
const char* name_of(BinaryKind kind);

enum class CompareKind { eq, ne, lt, le, gt, ge };
enum class ReduceKind { sum, mean, max, min };
enum class RandomKind { uniform, normal };

const char* name_of(CompareKind kind);
const char* name_of(ReduceKind kind);

/// y[b, o, t] = bias[o] + sum over the group's channels c and taps k of
///   x[b, c, t * stride - pad_left + k * dilation] * weight[o, c, k], zero outside of x.
struct Conv1dArgs {
  View x;                    ///< [batch, in, time], F32
  View weight;               ///< [out, in / groups, taps], F32, F16 or BF16
  std::optional<View> bias;  ///< [out]
  int64_t stride = 1;
  int64_t dilation = 1;
  int64_t groups = 1;
  int64_t pad_left = 0;
  int64_t pad_right = 0;
};

/// The same in two dimensions, symmetric padding.
struct Conv2dArgs {
  View x;                    ///< [batch, in, height, width], F32
  View weight;               ///< [out, in / groups, kernel height, kernel width]
  std::optional<View> bias;  ///< [out]
  int64_t stride_h = 1, stride_w = 1;
  int64_t pad_h = 0, pad_w = 0;
  int64_t dilation_h = 1, dilation_w = 1;
  int64_t groups = 1;
};

/// Transposed convolution, then `trim_left` and `trim_right` samples cut off.
/// Untrimmed length: (time - 1) * stride + taps.
struct ConvTranspose1dArgs {
  View x;                    ///< [batch, in, time], F32
  View weight;               ///< [in, out / groups, taps]
  std::optional<View> bias;  ///< [out]
  int64_t stride = 1;
  int64_t groups = 1;
  int64_t trim_left = 0;
  int64_t trim_right = 0;
};

/// Optional RMSNorm of each head, then rotary embedding. `half` = dim / 2.
struct RopeArgs {
  View x;                           ///< [tokens, heads, dim], F32, last dimension contiguous
  View cos, sin;                    ///< [positions, half], F32, contiguous
  View positions;                   ///< U32 [tokens]: which row of cos and sin a token uses
  bool interleaved = false;         ///< pairs (2i, 2i + 1) instead of (i, i + half)
  std::optional<View> norm_weight;  ///< [dim]: per-head RMSNorm before the rotation
  float norm_eps = 0.0f;
};

/// y = norm(x) weight^T + bias + residual.
struct LinearArgs {
  View x;                    ///< [rows, in], F32, or F16 where there is no norm_weight
  View weight;               ///< [out, in]: F32, F16, BF16 or blocks; contiguous; may be segmented
  std::optional<View> bias;  ///< [out], F32, F16 or BF16
  std::optional<View> residual;          ///< [rows, out], F32; added last
  std::optional<View> norm_weight = {};  ///< [in]: RMSNorm of each row of x before the product
  float norm_eps = 0.0f;
  /// Errors of x weigh much, as those of a router or of queries and keys do: the fast class rounds
  /// x to no less than F16 has.
  bool sensitive = false;
};

/// The newest pages of sequences in more bits than the rest of their cache, whose older pages are
/// Q8_16. A number in a page table that has kFlag set counts pages here. In a row of a table such
/// numbers come last; where a token is `lone` they are the page of its position and the one before.
struct RecentPages {
  static constexpr uint32_t kFlag = 0x80000000u;
  View k;  ///< F16 [recent pages, kv_heads, page, dim], contiguous, in the storage of k_cache
  View v;  ///< likewise, in the storage of v_cache
  View slots = {};  ///< of rope_attention: U32 [tokens], contiguous: where here a new token goes
};

/// Attention over a paged key/value cache. Causality, windows, segments and padding are all one
/// thing: the interval of key positions that a query sees.
///
/// y[t, h, :] = sum_s softmax_s(scale * q[t, h, :] . k[s, g, :]) v[s, g, :]
///   with g = h * kv_heads / heads and s in [spans[t, 0], spans[t, 1]). Position s of sequence
///   r = spans[t, 2] lies in page pages[r, s / page], slot s % page. An empty interval gives zeros.
struct AttentionArgs {
  View q;        ///< [tokens, heads, dim], F32, last dimension contiguous
  View k_cache;  ///< [pages, kv_heads, page, dim], F32, BF16 or Q8_16, last dimension contiguous
  View v_cache;  ///< like k_cache
  View spans;    ///< U32 [tokens, 3]: first key, end, sequence row; contiguous
  View pages;    ///< U32 [sequences, max pages]; contiguous
  float scale = 1.0f;
  /// No query sees more than this many keys: sizes scratch, never the result.
  int64_t max_span = 0;
  std::optional<RecentPages> recent = {};  ///< of Q8_16 caches
};

/// The projection that follows attention: y = residual + weight . x (+ bias).
struct OutputProjection {
  View weight;  ///< [rows, heads * dim], as in LinearArgs
  std::optional<View> bias;
  std::optional<View> residual;  ///< [tokens, rows], F32
};

/// New tokens through attention, as they come out of the projections: RMSNorm of each head of q and
/// k if weights are given, rotary embedding, keys and values into the cache, then AttentionArgs'
/// formula over the cache, which sees the new positions.
struct RopeAttentionArgs {
  View q;                              ///< [tokens, heads, dim], F32, last dimension contiguous
  View k, v;                           ///< [tokens, kv_heads, dim], likewise
  View cos, sin;                       ///< [positions, dim / 2], F32, contiguous
  View positions;                      ///< U32 [tokens]: which row of cos and sin a token uses
  bool interleaved = false;            ///< as in RopeArgs
  std::optional<View> q_norm, k_norm;  ///< [dim]; both or none
  float norm_eps = 0.0f;
  View slots;             ///< U32 [tokens]: where kv_write puts a token; distinct
  View k_cache, v_cache;  ///< as in AttentionArgs, contiguous; written
  View spans, pages;      ///< as in AttentionArgs
  float scale = 1.0f;
  int64_t max_span = 0;
  /// Each token is the only new one of its sequence, and its own position is the last of its
  /// interval (or the interval is empty).
  bool lone = false;
  std::optional<RecentPages> recent = {};  ///< as in AttentionArgs; written as well
  /// If given, y is [tokens, rows], what this makes of the formula's result.
  std::optional<OutputProjection> output = {};
};

/// Softmax over all experts in F32, the k largest (lower index first among equals), renormalised
/// to sum 1 if `normalize`. Writes experts U32 [tokens, k], largest first, and weights F32.
struct MoeRouteArgs {
  View logits;  ///< [tokens, experts], F32
  bool normalize = true;
};

/// y[t] = residual[t] + sum_j weights[t, j] * down_e(silu(gate_e x_t) * up_e x_t), e = experts[t,
/// j].
struct MoeArgs {
  View x;         ///< [tokens, hidden], F32, contiguous
  View experts;   ///< U32 [tokens, k], contiguous
  View weights;   ///< F32 [tokens, k], contiguous
  View gate, up;  ///< [experts, inner, hidden], F32, F16, BF16 or blocks; may be segmented
  View down;      ///< [experts, hidden, inner]
  std::optional<View> residual;  ///< [tokens, hidden], F32, contiguous
};

/// Draws one token for each row of logits among its 64 largest. A row of settings is temperature
/// (0: the largest logit), top_k (1 to 64), top_p, min_p and a number in [0, 1) that decides; order
/// of operations: top_k, temperature, top_p, min_p, softmax, draw. Source: the logits processors of
/// transformers' GenerationMixin.
struct SampleArgs {
  static constexpr int64_t kMostCandidates = 64;
  static constexpr int64_t kSettings = 5;
  View logits;    ///< [rows, vocabulary], F32
  View settings;  ///< F32 [rows, kSettings], contiguous
};

/// Repetition penalty and suppression of logits, in place, and the history they follow. `newest` is
/// marked as said; then the logit of what was said is divided by its row's penalty if it is
/// positive and multiplied if not, and what is suppressed becomes kSuppressed. Source: the logits
/// processors of transformers' GenerationMixin; Keskar et al. 2019, section 4.1.
struct PenaliseArgs {
  static constexpr uint32_t kSaid = 1, kNever = 2;
  static constexpr float kSuppressed = -3.0e38f;
  View logits;     ///< F32 [rows, vocabulary], contiguous; written
  View newest;     ///< U32 [rows]: one outside of the vocabulary marks nothing; contiguous
  View marks;      ///< U32 [rows, vocabulary]: kSaid, kNever; contiguous; written
  View penalties;  ///< F32 [rows], contiguous
};

/// y = x + moe(n, moe_route(n router^T)), n = RMSNorm(x).
struct MoeBlockArgs {
  View x;            ///< [tokens, hidden], F32, contiguous
  View norm_weight;  ///< [hidden]
  float norm_eps = 0.0f;
  View router;  ///< [experts, hidden], any weight type
  int64_t experts_per_token = 0;
  bool normalize = true;
  View gate, up, down;  ///< as in MoeArgs
};

}  // namespace candela
