#include "tensor/call.h"
#include "tensor/ops.h"

namespace candela {

namespace {

// Kernels that walk heads want their elements side by side.
Tensor last_contiguous(const Tensor& x) {
  return x.layout().stride(-1) == 1 || x.dim(-1) <= 1 ? x : x.contiguous();
}

/// @param recent  whether these may be recent pages, which are F16
void require_cache(const Call& call, const Tensor& cache, bool recent = false) {
  call.require_rank(cache, 4);
  const DType dtype = cache.dtype();
  if (dtype != DType::F32 && dtype != DType::BF16 && dtype != DType::Q8_16 &&
      !(recent && dtype == DType::F16)) {
    call.unsupported("a cache is F32, BF16 or Q8_16, not {}", dtype_name(dtype));
  }
  if (cache.dim(3) % block_elements(dtype) != 0) {
    call.invalid("heads of {} dimensions are no whole {} blocks", cache.dim(3), dtype_name(dtype));
  }
}

void require_grouped_heads(const Call& call, int64_t heads, int64_t kv_heads) {
  if (kv_heads == 0 || heads % kv_heads != 0) {
    call.invalid("{} heads are no multiple of {} key/value heads", heads, kv_heads);
  }
}

void require_caches(const Call& call, const Tensor& k, const Tensor& v, const Tensor& q) {
  require_cache(call, k);
  require_cache(call, v);
  call.require_shape(v, k.shape());
  call.require_dtype(v, k.dtype());
  require_grouped_heads(call, q.dim(1), k.dim(1));
  if (q.dim(2) != k.dim(3)) {
    call.invalid("head sizes differ, {} and {}", q.dim(2), k.dim(3));
  }
}

/// @param new_tokens  that are to be written there
std::optional<RecentPages> recent_pages(const Call& call,
                                        const std::optional<RecentTensors>& recent,
                                        const Tensor& k_cache,
                                        const Tensor& v_cache,
                                        int64_t new_tokens) {
  if (!recent) {
    return std::nullopt;
  }
  call.require_dtype(k_cache, DType::Q8_16);
  for (const auto& [pages, cache] : {std::pair{&recent->k, &k_cache}, {&recent->v, &v_cache}}) {
    call.require_dtype(*pages, DType::F16);
    call.require_rank(*pages, 4);
    call.require_shape(*pages,
                       Shape{recent->k.dim(0), cache->dim(1), cache->dim(2), cache->dim(3)});
    if (!pages->is_contiguous() || pages->view().storage != cache->view().storage) {
      call.invalid("recent pages have to be contiguous, in the memory of their cache");
    }
  }
  RecentPages pages{recent->k.view(), recent->v.view()};
  if (new_tokens > 0) {
    call.require_dtype(recent->slots, DType::U32);
    call.require_shape(recent->slots, Shape{new_tokens});
    pages.slots = recent->slots.contiguous().view();
  }
  return pages;
}

void require_table(const Call& call, const Tensor& q, const Tensor& spans, const Tensor& pages) {
  call.require_dtype(spans, DType::U32);
  call.require_dtype(pages, DType::U32);
  call.require_shape(spans, Shape{q.dim(0), 3});
  call.require_rank(pages, 2);
}

std::optional<View> head_norm(const Call& call, const std::optional<Tensor>& weight, int64_t dim) {
  if (!weight) {
    return std::nullopt;
  }
  call.require_float(*weight);
  call.require_shape(*weight, Shape{dim});
  return weight->contiguous().view();
}

/// @param result  of attention, [tokens, heads, dim]
std::optional<OutputProjection> output_projection(const Call& call,
                                                  const std::optional<OutputTensors>& output,
                                                  const Shape& result) {
  if (!output) {
    return std::nullopt;
  }
  const Tensor& weight = output->weight;
  if (is_integer(weight.dtype())) {
    call.require_float(weight);
  }
  const int64_t rows = weight.rank() == 2 ? weight.dim(0) : 0;
  call.require_shape(weight, Shape{rows, result[1] * result[2]});
  OutputProjection projection{weight.contiguous().view(), {}, {}};
  if (output->bias) {
    call.require_float(*output->bias);
    call.require_shape(*output->bias, Shape{rows});
    projection.bias = output->bias->view();
  }
  if (output->residual) {
    call.require_shape(*output->residual, Shape{result[0], rows});
    projection.residual = as_f32(call, *output->residual).view();
  }
  return projection;
}

void require_rotation(const Call& call,
                      const Tensor& x,
                      const Tensor& cos,
                      const Tensor& sin,
                      const Tensor& positions) {
  call.require_rank(cos, 2);
  call.require_dtype(positions, DType::U32);
  call.require_shape(positions, Shape{x.dim(0)});
  if (x.dim(2) % 2 != 0) {
    call.invalid("the head size {} is odd", x.dim(2));
  }
  call.require_shape(cos, Shape{cos.dim(0), x.dim(2) / 2});
  call.require_shape(sin, cos.shape());
}

}  // namespace

Tensor rope(const Tensor& x,
            const Tensor& cos,
            const Tensor& sin,
            const Tensor& positions,
            const RopeOptions& options) {
  const Tensor& norm = options.norm_weight ? *options.norm_weight : x;
  const Call call(
      "rope",
      {{"x", &x}, {"cos", &cos}, {"sin", &sin}, {"positions", &positions}, {"norm_weight", &norm}});
  call.require_rank(x, 3);
  require_rotation(call, x, cos, sin, positions);
  RopeArgs args;
  args.x = last_contiguous(as_f32(call, x)).view();
  args.cos = as_f32(call, cos).contiguous().view();
  args.sin = as_f32(call, sin).contiguous().view();
  args.positions = positions.view();
  args.interleaved = options.interleaved;
  if (options.norm_weight) {
    call.require_float(norm);
    call.require_shape(norm, Shape{x.dim(2)});
    args.norm_weight = norm.view();
    args.norm_eps = options.norm_eps;
  }
  Tensor y = call.output(x.shape());
  call.backend().rope(args, y.view());
  return y;
}

Tensor paged_attention(const Tensor& q,
                       const Tensor& k_cache,
                       const Tensor& v_cache,
                       const Tensor& spans,
                       const Tensor& pages,
                       float scale,
                       int64_t max_span,
                       const std::optional<RecentTensors>& recent) {
  const Call call("paged_attention", {{"q", &q},
                                      {"k_cache", &k_cache},
                                      {"v_cache", &v_cache},
                                      {"spans", &spans},
                                      {"pages", &pages}});
  call.require_rank(q, 3);
  require_caches(call, k_cache, v_cache, q);
  require_table(call, q, spans, pages);
  AttentionArgs args;
  args.q = last_contiguous(as_f32(call, q)).view();
  args.k_cache = last_contiguous(k_cache).view();
  args.v_cache = last_contiguous(v_cache).view();
  args.spans = spans.contiguous().view();
  args.pages = pages.contiguous().view();
  args.scale = scale;
  args.max_span = max_span;
  args.recent = recent_pages(call, recent, k_cache, v_cache, 0);
  Tensor y = call.output(q.shape());
  call.backend().attention(args, y.view());
  return y;
}

Tensor attention(
    const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& spans, float scale) {
  const Call call("attention", {{"q", &q}, {"k", &k}, {"v", &v}, {"spans", &spans}});
  call.require_rank(q, 3);
  call.require_rank(k, 3);
  call.require_shape(v, k.shape());
  call.require_float(k);
  call.require_float(v);
  call.require_dtype(spans, DType::U32);
  call.require_shape(spans, Shape{q.dim(1), 2});
  if (k.dim(1) == 0) {
    return Tensor::zeros(Shape{q.dim(1), q.dim(0), q.dim(2)}, DType::F32, q.device());
  }
  // All keys are one page of one sequence.
  const bool mixed = k.dtype() != v.dtype() || k.dtype() == DType::F16;
  const Tensor rows = pad(spans, 1, 0, 1);
  const Tensor pages = Tensor::zeros(Shape{1, 1}, DType::U32, q.device());
  return paged_attention(q.transpose(0, 1), (mixed ? as_f32(call, k) : k).unsqueeze(0),
                         (mixed ? as_f32(call, v) : v).unsqueeze(0), rows, pages, scale, k.dim(1));
}

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
                      const RopeAttentionOptions& options) {
  const Tensor& q_norm = options.q_norm ? *options.q_norm : q;
  const Tensor& k_norm = options.k_norm ? *options.k_norm : k;
  const std::optional<OutputTensors>& output = options.output;
  const Call call("rope_attention",
                  {{"q", &q},
                   {"k", &k},
                   {"v", &v},
                   {"cos", &cos},
                   {"sin", &sin},
                   {"positions", &positions},
                   {"slots", &slots},
                   {"k_cache", &k_cache},
                   {"v_cache", &v_cache},
                   {"spans", &spans},
                   {"pages", &pages},
                   {"q_norm", &q_norm},
                   {"k_norm", &k_norm},
                   {"weight", output ? &output->weight : &q},
                   {"bias", output && output->bias ? &*output->bias : &q},
                   {"residual", output && output->residual ? &*output->residual : &q}});
  call.require_rank(q, 3);
  require_caches(call, k_cache, v_cache, q);
  if (!k_cache.is_contiguous() || !v_cache.is_contiguous()) {
    call.invalid("the caches have to be contiguous");
  }
  require_table(call, q, spans, pages);
  const Shape row{q.dim(0), k_cache.dim(1), q.dim(2)};
  call.require_shape(k, row);
  call.require_shape(v, row);
  require_rotation(call, q, cos, sin, positions);
  call.require_dtype(slots, DType::U32);
  call.require_shape(slots, Shape{q.dim(0)});
  RopeAttentionArgs args;
  args.q = last_contiguous(as_f32(call, q)).view();
  args.k = last_contiguous(as_f32(call, k)).view();
  args.v = last_contiguous(as_f32(call, v)).view();
  args.cos = as_f32(call, cos).contiguous().view();
  args.sin = as_f32(call, sin).contiguous().view();
  args.positions = positions.contiguous().view();
  args.interleaved = options.interleaved;
  args.q_norm = head_norm(call, options.q_norm, q.dim(2));
  args.k_norm = head_norm(call, options.k_norm, q.dim(2));
  if (args.q_norm.has_value() != args.k_norm.has_value()) {
    call.invalid("one of the two norm weights is missing");
  }
  args.norm_eps = options.norm_eps;
  args.slots = slots.contiguous().view();
  args.k_cache = k_cache.view();
  args.v_cache = v_cache.view();
  args.spans = spans.contiguous().view();
  args.pages = pages.contiguous().view();
  args.scale = scale;
  args.max_span = max_span;
  args.lone = options.lone;
  args.recent = recent_pages(call, options.recent, k_cache, v_cache, q.dim(0));
  args.output = output_projection(call, output, q.shape());
  Tensor y = call.output(output ? Shape{q.dim(0), output->weight.dim(0)} : q.shape());
  call.backend().rope_attention(args, y.view());
  return y;
}

void kv_write(const Tensor& cache, const Tensor& slots, const Tensor& x) {
  const Call call("kv_write", {{"cache", &cache}, {"slots", &slots}, {"x", &x}});
  require_cache(call, cache, true);
  call.require_dtype(slots, DType::U32);
  call.require_rank(slots, 1);
  call.require_shape(x, Shape{slots.dim(0), cache.dim(1), cache.dim(3)});
  if (!cache.is_contiguous()) {
    call.invalid("the cache has to be contiguous");
  }
  call.backend().kv_write(as_f32(call, x).view(), slots.view(), cache.view());
}

}  // namespace candela
