// Default bodies of attention, kv_write and rope_attention. The first two read their indices on the
// host, so they wait for the device.
#include <algorithm>

#include "backend/fused_ops.h"
#include "base/error.h"

namespace candela {

namespace {

struct Span {
  int64_t begin, end, sequence;
};

/// Positions [begin, end) of one sequence as gapless F32 [kv_heads, end - begin, dim], from a cache
/// and, where there are some, its recent pages.
View collect(Backend& backend,
             const View& cache,
             const View* recent,
             const AttentionArgs& args,
             std::span<const uint32_t> pages,
             const Span& span) {
  const int64_t page = cache.dim(2);
  const View y = scratch(backend, Shape{cache.dim(1), span.end - span.begin, cache.dim(3)});
  for (int64_t at = span.begin; at < span.end;) {
    const int64_t slot = at % page;
    const int64_t count = std::min(page - slot, span.end - at);
    const auto entry = static_cast<size_t>(span.sequence * args.pages.dim(1) + at / page);
    const bool listed = span.sequence < args.pages.dim(0) && at / page < args.pages.dim(1);
    const uint32_t number = listed ? pages[entry] : UINT32_MAX;
    const bool newest = recent != nullptr && (number & RecentPages::kFlag) != 0;
    const View& source = newest ? *recent : cache;
    const uint32_t index = newest ? number & ~RecentPages::kFlag : number;
    if (index >= source.dim(0)) {
      fail(ErrorKind::InvalidArgument, Subject::Input,
           "attention: position {} of sequence {} lies in no page of the cache ({} pages).", at,
           span.sequence, source.dim(0));
    }
    const View from = fused::narrow(fused::select(source, index), 1, slot, count);
    backend.copy(from, fused::narrow(y, 1, at - span.begin, count));
    at += count;
  }
  return y;
}

/// One token: q and y [heads, dim], keys and values [kv_heads, length, dim].
void attend(Backend& backend,
            const View& q,
            const View& keys,
            const View& values,
            float scale,
            const View& y) {
  const int64_t kv_heads = keys.dim(0);
  const int64_t group = q.dim(0) / kv_heads;
  const Shape grouped{kv_heads, group, q.dim(1)};
  const View q_grouped = fused::to_f32(backend, q);
  const View scores = scratch(backend, Shape{kv_heads, group, keys.dim(1)});
  backend.matmul(fused::with_layout(q_grouped, Layout(grouped)),
                 fused::with_layout(keys, keys.layout.transpose(1, 2)), scores);
  const View scaled = fused::unary(backend, UnaryKind::affine, scores, scale, 0.0f);
  const View shares = scratch(backend, scores.shape());
  backend.softmax(scaled, shares);
  const View out = scratch(backend, grouped);
  backend.matmul(shares, values, out);
  backend.copy(fused::with_layout(out, Layout(q.shape())), y);
}

}  // namespace

void Backend::attention(const AttentionArgs& args, const View& y) {
  const std::vector<uint32_t> spans = fused::download_ids(*this, args.spans);
  const std::vector<uint32_t> pages = fused::download_ids(*this, args.pages);
  const auto span_of = [&](int64_t token) {
    const auto at = static_cast<size_t>(3 * token);
    return Span{spans[at], spans[at + 1], spans[at + 2]};
  };
  const int64_t tokens = args.q.dim(0);
  for (int64_t first = 0; first < tokens;) {
    const int64_t sequence = span_of(first).sequence;
    int64_t last = first;
    // Neighbours of one sequence share the collected keys and values.
    Span all{0, 0, sequence};
    for (; last < tokens && span_of(last).sequence == sequence; ++last) {
      const Span span = span_of(last);
      if (span.begin < span.end) {
        const bool alone = all.begin == all.end;
        all.begin = alone ? span.begin : std::min(all.begin, span.begin);
        all.end = std::max(all.end, span.end);
      }
    }
    const View* recent_keys = args.recent ? &args.recent->k : nullptr;
    const View* recent_values = args.recent ? &args.recent->v : nullptr;
    const View keys = collect(*this, args.k_cache, recent_keys, args, pages, all);
    const View values = collect(*this, args.v_cache, recent_values, args, pages, all);
    for (int64_t token = first; token < last; ++token) {
      const Span span = span_of(token);
      const View out = fused::select(y, token);
      if (span.end <= span.begin) {
        fill(out, 0.0);
        continue;
      }
      const int64_t start = span.begin - all.begin;
      const int64_t length = span.end - span.begin;
      attend(*this, fused::select(args.q, token), fused::narrow(keys, 1, start, length),
             fused::narrow(values, 1, start, length), args.scale, out);
    }
    first = last;
  }
}

void Backend::kv_write(const View& x, const View& slots, const View& cache) {
  const std::vector<uint32_t> places = fused::download_ids(*this, slots);
  const int64_t page = cache.dim(2);
  for (size_t token = 0; token < places.size(); ++token) {
    const int64_t place = places[token];
    if (place >= cache.dim(0) * page) {
      fail(ErrorKind::InvalidArgument, Subject::Input,
           "kv_write: the slot {} of token {} is outside of the cache's {} slots.", place, token,
           cache.dim(0) * page);
    }
    const View slot = fused::narrow(fused::select(cache, place / page), 1, place % page, 1);
    copy(fused::select(x, static_cast<int64_t>(token)),
         fused::with_layout(slot, slot.layout.squeeze(1)));
  }
}

void Backend::rope_attention(const RopeAttentionArgs& args, const View& y) {
  if (args.output) {
    RopeAttentionArgs inner = args;
    inner.output.reset();
    const View context = scratch(*this, args.q.shape());
    rope_attention(inner, context);
    const Shape row{args.q.dim(0), args.q.dim(1) * args.q.dim(2)};
    linear({fused::with_layout(context, Layout(row)), args.output->weight, args.output->bias,
            args.output->residual},
           y);
    return;
  }
  const auto rotate = [&](const View& x, const std::optional<View>& norm) {
    const View rotated = scratch(*this, x.shape());
    rope({x, args.cos, args.sin, args.positions, args.interleaved, norm, args.norm_eps}, rotated);
    return rotated;
  };
  const View key = rotate(args.k, args.k_norm);
  kv_write(key, args.slots, args.k_cache);
  kv_write(args.v, args.slots, args.v_cache);
  if (args.recent) {
    kv_write(key, args.recent->slots, args.recent->k);
    kv_write(args.v, args.recent->slots, args.recent->v);
  }
  attention({rotate(args.q, args.q_norm), args.k_cache, args.v_cache, args.spans, args.pages,
             args.scale, args.max_span, args.recent},
            y);
}

}  // namespace candela
