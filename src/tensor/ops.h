#pragma once

#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "tensor/tensor.h"

/// Every op of candela. An op checks its arguments, makes its output and calls one function of the
/// backend; names are those of PyTorch, so that model code can be compared line by line. All
/// tensors of a call lie on one device. Negative axes count from the end. Errors name the op and
/// the shapes.
namespace candela {

// --- Elementwise: one function per line of backend/elementwise.def ------------------------------
/// Unary ops that take no scalar: `Tensor silu(const Tensor& x)`, ...; x F32, F16 or BF16, result
/// F32. `a` and `b` are the scalars of affine (x * a + b), clamp [a, b], powf, elu and leaky_relu.
// `log` the function stands beside `log` the class (base/log.h), which GCC calls shadowing.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#define CANDELA_UNARY(name, cpu, wgsl) Tensor name(const Tensor& x, double a = 0.0, double b = 0.0);
#define CANDELA_BINARY(name, cpu, wgsl) Tensor name(const Tensor& x, const Tensor& y);
#include "backend/elementwise.def"
#undef CANDELA_UNARY
#undef CANDELA_BINARY
#pragma GCC diagnostic pop

/// Broadcasting; floats give F32, two I32 or two U32 tensors their own type.
Tensor operator+(const Tensor& x, const Tensor& y);
Tensor operator-(const Tensor& x, const Tensor& y);
Tensor operator*(const Tensor& x, const Tensor& y);
Tensor operator/(const Tensor& x, const Tensor& y);
Tensor operator+(const Tensor& x, double y);
Tensor operator-(const Tensor& x, double y);
Tensor operator*(const Tensor& x, double y);
Tensor operator/(const Tensor& x, double y);

/// Broadcasting comparisons; U32, 0 or 1.
Tensor eq(const Tensor& x, const Tensor& y);
Tensor ne(const Tensor& x, const Tensor& y);
Tensor lt(const Tensor& x, const Tensor& y);
Tensor le(const Tensor& x, const Tensor& y);
Tensor gt(const Tensor& x, const Tensor& y);
Tensor ge(const Tensor& x, const Tensor& y);
/// condition U32; broadcasts all three.
Tensor where(const Tensor& condition, const Tensor& on_true, const Tensor& on_false);

// --- Shape (these copy) ------------------------------------------------------------------------
Tensor cat(std::span<const Tensor> parts, int axis);
Tensor stack(std::span<const Tensor> parts, int axis);
/// `value` before and after the elements of `axis`.
Tensor pad(const Tensor& x, int axis, int64_t before, int64_t after, double value = 0.0);
/// Tiles the tensor `times[i]` times along axis i.
Tensor repeat(const Tensor& x, std::span<const int64_t> times);

// --- Reductions (F32) ----------------------------------------------------------------------------
Tensor sum(const Tensor& x, int axis, bool keepdim = false);
Tensor mean(const Tensor& x, int axis, bool keepdim = false);
Tensor max(const Tensor& x, int axis, bool keepdim = false);
Tensor min(const Tensor& x, int axis, bool keepdim = false);
/// Unbiased variance, as torch.var.
Tensor var(const Tensor& x, int axis, bool keepdim = false);
Tensor sum_all(const Tensor& x);
/// U32; the first of equals.
Tensor argmax(const Tensor& x, int axis, bool keepdim = false);
/// In place: ids (U32) receives argmax(x, -1); 2^32 - 1 for a row that holds a NaN.
void argmax_into(const Tensor& x, const Tensor& ids);
Tensor argmin(const Tensor& x, int axis, bool keepdim = false);
Tensor log_sum_exp(const Tensor& x, int axis, bool keepdim = false);
Tensor cumsum(const Tensor& x, int axis);
/// Values F32 and indices U32 of the k largest along the last axis, largest first; k <= 64.
std::pair<Tensor, Tensor> top_k(const Tensor& x, int64_t k);
Tensor softmax(const Tensor& x, int axis);
Tensor log_softmax(const Tensor& x, int axis);

// --- Indexing ------------------------------------------------------------------------------------
/// table [rows, ...], ids U32 of any shape; returns [ids..., ...] as F32.
Tensor embedding(const Tensor& table, const Tensor& ids);
/// Rows `ids` (U32 [n]) of `axis`, in x's dtype.
Tensor index_select(const Tensor& x, int axis, const Tensor& ids);
Tensor gather(const Tensor& x, int axis, const Tensor& index);
/// A copy of x with src added at index along axis (torch.scatter_add); F32.
Tensor scatter_add(const Tensor& x, int axis, const Tensor& index, const Tensor& src);
/// In place: x[ids[i], ...] = src[i, ...]; ids distinct.
void write_rows(const Tensor& x, const Tensor& ids, const Tensor& src);

// --- Linear algebra ------------------------------------------------------------------------------
/// [..., m, k] x [..., k, n]; batch dimensions broadcast; F32, F16, BF16 in any mix, result F32.
Tensor matmul(const Tensor& a, const Tensor& b);
/// x [..., in], weight [out, in] (also quantised or segmented), bias [out], residual [..., out].
Tensor linear(const Tensor& x,
              const Tensor& weight,
              const std::optional<Tensor>& bias = std::nullopt,
              const std::optional<Tensor>& residual = std::nullopt);

/// rms_norm(x, norm_weight, eps) and then linear, without the tensor between them; `sensitive` as
/// in LinearArgs.
Tensor norm_linear(const Tensor& x,
                   const Tensor& norm_weight,
                   float eps,
                   const Tensor& weight,
                   const std::optional<Tensor>& bias = std::nullopt,
                   bool sensitive = false);

// --- Convolution
// -----------------------------------------------------------------------------------
struct Conv1dOptions {
  int64_t stride = 1, dilation = 1, groups = 1, pad_left = 0, pad_right = 0;
};
Tensor conv1d(const Tensor& x,
              const Tensor& weight,
              const std::optional<Tensor>& bias,
              const Conv1dOptions& options = {});
struct Conv2dOptions {
  int64_t stride_h = 1, stride_w = 1, pad_h = 0, pad_w = 0;
  int64_t dilation_h = 1, dilation_w = 1, groups = 1;
};
Tensor conv2d(const Tensor& x,
              const Tensor& weight,
              const std::optional<Tensor>& bias,
              const Conv2dOptions& options = {});
struct ConvTranspose1dOptions {
  int64_t stride = 1, groups = 1, trim_left = 0, trim_right = 0;
};
Tensor conv_transpose1d(const Tensor& x,
                        const Tensor& weight,
                        const std::optional<Tensor>& bias,
                        const ConvTranspose1dOptions& options = {});

// --- Fused
// -------------------------------------------------------------------------------------------
/// x / sqrt(mean(x^2) + eps) * weight over the last axis; weight F32, F16 or BF16.
Tensor rms_norm(const Tensor& x, const Tensor& weight, float eps);
Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, float eps);
struct RopeOptions {
  bool interleaved = false;           ///< pairs (2i, 2i + 1) instead of (i, i + dim / 2)
  std::optional<Tensor> norm_weight;  ///< [dim]: per-head RMSNorm before the rotation
  float norm_eps = 0.0f;
};
/// x [tokens, heads, dim], cos and sin [positions, dim / 2], positions U32 [tokens].
Tensor rope(const Tensor& x,
            const Tensor& cos,
            const Tensor& sin,
            const Tensor& positions,
            const RopeOptions& options = {});
/// silu(gate) * up.
Tensor swiglu(const Tensor& gate, const Tensor& up);
/// Newest pages of Q8_16 caches in F16, in the caches' storages: see the RecentPages of op_args.h.
struct RecentTensors {
  Tensor k, v;   ///< [recent pages, kv_heads, page, dim]
  Tensor slots;  ///< of rope_attention: U32 [tokens], where here a new token goes
};
/// Attention over a paged cache, see AttentionArgs: q [tokens, heads, dim], caches
/// [pages, kv_heads, page, dim], spans U32 [tokens, 3], pages U32 [sequences, max pages].
Tensor paged_attention(const Tensor& q,
                       const Tensor& k_cache,
                       const Tensor& v_cache,
                       const Tensor& spans,
                       const Tensor& pages,
                       float scale,
                       int64_t max_span,
                       const std::optional<RecentTensors>& recent = std::nullopt);
/// Attention without a cache: q [heads, tokens, dim], k and v [kv_heads, keys, dim], spans U32
/// [tokens, 2] (first key, end) for each query. Returns [tokens, heads, dim].
Tensor attention(
    const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& spans, float scale);
/// The projection that follows attention: linear with this weight [rows, heads * dim].
struct OutputTensors {
  Tensor weight;
  std::optional<Tensor> bias;      ///< [rows]
  std::optional<Tensor> residual;  ///< [tokens, rows]
};
struct RopeAttentionOptions {
  bool interleaved = false;              ///< as in RopeOptions
  std::optional<Tensor> q_norm, k_norm;  ///< [dim]: per-head RMSNorm before the rotation
  float norm_eps = 0.0f;
  bool lone = false;  ///< each token is the only new one of its sequence, last of its span
  std::optional<RecentTensors> recent;
  std::optional<OutputTensors> output;  ///< the result is [tokens, rows] then
};
/// Raw projections q [tokens, heads, dim], k and v [tokens, kv_heads, dim] of new tokens: rope,
/// then kv_write in place at slots U32 [tokens], then paged_attention. See RopeAttentionArgs. The
/// lone case is one kernel if q, k, v are slices of one tensor, likewise cos and sin, and
/// positions, slots, recent slots, spans and pages.
Tensor rope_attention(const Tensor& q,
                      const Tensor& k,
                      const Tensor& v,
                      const Tensor& cos,
                      const Tensor& sin,
                      const Tensor& positions,
                      const Tensor& slots,
                      const Tensor& k_cache,
                      const Tensor& v_cache,
                      const Tensor& spans,
                      const Tensor& pages,
                      float scale,
                      int64_t max_span,
                      const RopeAttentionOptions& options = {});
/// In place: cache [pages, kv_heads, page, dim] receives x [tokens, kv_heads, dim] at slots U32.
void kv_write(const Tensor& cache, const Tensor& slots, const Tensor& x);
/// In place: ids (U32 [rows]) receives a token drawn for each row of logits [rows, vocabulary],
/// with settings F32 [rows, 5]: see SampleArgs. 2^32 - 1 for a row that holds a NaN.
void sample_into(const Tensor& logits, const Tensor& settings, const Tensor& ids);
/// In place: logits F32 [rows, vocabulary] after repetition penalty and suppression, marks (U32,
/// like logits) after the tokens newest (U32 [rows]) were marked as said; penalties F32 [rows]. All
/// contiguous. See PenaliseArgs.
void penalise_into(const Tensor& logits,
                   const Tensor& newest,
                   const Tensor& marks,
                   const Tensor& penalties);
/// Experts U32 and weights F32, both [tokens, k], of logits [tokens, experts].
std::pair<Tensor, Tensor> moe_route(const Tensor& logits, int64_t k, bool normalize);
/// x [tokens, hidden]; gate, up [experts, inner, hidden]; down [experts, hidden, inner].
Tensor moe(const Tensor& x,
           const std::pair<Tensor, Tensor>& route,
           const Tensor& gate,
           const Tensor& up,
           const Tensor& down,
           const std::optional<Tensor>& residual = std::nullopt);
struct MoeBlockOptions {
  float norm_eps = 0.0f;
  int64_t experts_per_token = 0;
  bool normalize = true;  ///< the weights of a token's experts sum to 1
};
/// x + moe(n, moe_route(linear(n, router))), n = rms_norm(x, norm_weight); router [experts,
/// hidden].
Tensor moe_block(const Tensor& x,
                 const Tensor& norm_weight,
                 const Tensor& router,
                 const Tensor& gate,
                 const Tensor& up,
                 const Tensor& down,
                 const MoeBlockOptions& options);
Tensor snake_beta(const Tensor& x, const Tensor& alpha, const Tensor& beta);

}  // namespace candela
