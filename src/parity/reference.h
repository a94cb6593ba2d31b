#pragma once

#include "parity/case.h"

/// Results straight from the formulas, in double precision and as plain as possible: the third
/// opinion beside a fused kernel and its default body.
namespace candela::parity {

/// Applies f(row in, row out) to every row of the last dimension.
template <typename F>
Numbers by_rows(const Host& x, F f) {
  Numbers out(x.values.size());
  const auto cols = static_cast<size_t>(x.shape[-1]);
  for (size_t at = 0; cols > 0 && at < out.size(); at += cols) {
    f(std::span(x.values).subspan(at, cols), std::span(out).subspan(at, cols));
  }
  return out;
}

/// [m, k] x [k, n] for each batch; both with the same batch dimensions.
Numbers ref_matmul(const Host& a, const Host& b);
/// x [rows, in], weight [out, in].
Numbers ref_linear(const Host& x, const Host& weight, const Host* bias, const Host* residual);
Numbers ref_softmax(const Host& x, bool log);
Numbers ref_rms_norm(const Host& x, const Host& weight, double eps);
Numbers ref_layer_norm(const Host& x, const Host& weight, const Host& bias, double eps);
Numbers ref_rope(const Host& x,
                 const Host& cos,
                 const Host& sin,
                 const Host& positions,
                 bool interleaved,
                 const Host* norm_weight,
                 double eps);
/// q [heads, tokens, dim], k and v [kv_heads, keys, dim], spans [tokens, 2].
Numbers ref_attention(const Host& q, const Host& k, const Host& v, const Host& spans, double scale);
/// q [tokens, heads, dim], caches [pages, kv_heads, page, dim], spans [tokens, 3], pages
/// [sequences, max pages].
Numbers ref_paged_attention(const Host& q,
                            const Host& k_cache,
                            const Host& v_cache,
                            const Host& spans,
                            const Host& pages,
                            double scale);
/// Expert indices and weights, each [tokens, k].
std::vector<Numbers> ref_moe_route(const Host& logits, int64_t k, bool normalize);
Numbers ref_moe(const Host& x,
                const Host& experts,
                const Host& weights,
                const Host& gate,
                const Host& up,
                const Host& down,
                const Host* residual);
struct RefConv {
  int64_t stride_h = 1, stride_w = 1, dilation_h = 1, dilation_w = 1, groups = 1;
  int64_t top = 0, bottom = 0, left = 0, right = 0;
};
/// x [batch, in, height, width], weight [out, in / groups, kernel height, kernel width].
Numbers ref_conv2d(const Host& x, const Host& weight, const Host* bias, const RefConv& options);
Numbers ref_conv_transpose1d(const Host& x,
                             const Host& weight,
                             const Host* bias,
                             int64_t stride,
                             int64_t groups,
                             int64_t trim_left,
                             int64_t trim_right);

}  // namespace candela::parity
