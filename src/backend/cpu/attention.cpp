#include <cmath>

#include "backend/cpu/cpu_backend.h"
#include "backend/cpu/loops.h"
#include "backend/cpu/simd.h"
#include "backend/cpu/softmax.h"
#include "backend/cpu/storage.h"
#include "base/error.h"
#include "base/q8.h"

namespace candela::cpu {

namespace {

struct Span {
  int64_t begin, end, sequence;
};

/// One cache: the row of position s of a sequence and head.
struct Cache {
  const std::byte* data;
  const Layout& layout;
  DType dtype;

  Cache(const View& view) : data(input(view, "attention")), layout(view.layout), dtype(view.dtype) {
    if (!is_float(dtype) && dtype != DType::Q8_0) {
      fail_dtype("attention", dtype);
    }
  }
  const std::byte* row(int64_t page, int64_t head, int64_t slot) const {
    const int64_t at =
        layout.offset + page * layout.stride(0) + head * layout.stride(1) + slot * layout.stride(2);
    return data + at / block_elements(dtype) * block_bytes(dtype);
  }
};

/// One head's new key or value to its place in a cache.
void store_row(const float* values, const View& cache, std::byte* to, int64_t offset, int64_t dim) {
  if (cache.dtype != DType::Q8_0) {
    store_floats("kv_write", values, cache.dtype, to, offset, cache.layout.stride(3), dim);
    return;
  }
  const int64_t block = block_elements(DType::Q8_0);
  for (int64_t i = 0; i < dim; i += block) {
    to_q8_0(values + i, to + (offset + i) / block * block_bytes(DType::Q8_0));
  }
}

/// Everything one query token needs, for one key/value head and the query heads that share it.
struct Attention {
  const AttentionArgs& args;
  Cache keys, values;
  const uint32_t* pages;
  int64_t group, page_size, dim;

  int64_t page_of(const Span& span, int64_t position) const {
    return pages[span.sequence * args.pages.layout.stride(0) + position / page_size];
  }

  /// y rows [group][dim], step 1. `scores` has room for group * (end - begin).
  void run(const Span& span,
           int64_t head,
           const float* const* q,
           float* const* y,
           std::vector<float>& scores) const {
    const int64_t length = std::max<int64_t>(span.end - span.begin, 0);
    scores.resize(static_cast<size_t>(group * length));
    const auto dot = simd().dot(keys.dtype);
    for (int64_t s = 0; s < length; ++s) {
      const int64_t position = span.begin + s;
      const std::byte* key = keys.row(page_of(span, position), head, position % page_size);
      for (int64_t i = 0; i < group; ++i) {
        scores[static_cast<size_t>(i * length + s)] = args.scale * dot(q[i], key, dim);
      }
    }
    for (int64_t i = 0; i < group; ++i) {
      softmax_row(scores.data() + i * length, length, scores.data() + i * length);
      std::fill_n(y[i], dim, 0.0f);
    }
    const auto axpy = simd().axpy(values.dtype);
    for (int64_t s = 0; s < length; ++s) {
      const int64_t position = span.begin + s;
      const std::byte* value = values.row(page_of(span, position), head, position % page_size);
      for (int64_t i = 0; i < group; ++i) {
        axpy(scores[static_cast<size_t>(i * length + s)], value, dim, y[i]);
      }
    }
  }
};

/// Reads the spans and checks that every page they need exists.
std::vector<Span> checked_spans(const AttentionArgs& args, const uint32_t* pages) {
  const std::vector<uint32_t> words = all_ids("attention", args.spans);
  const int64_t page = args.k_cache.dim(2);
  std::vector<Span> spans;
  for (size_t i = 0; i + 2 < words.size(); i += 3) {
    const Span span{words[i], words[i + 1], words[i + 2]};
    const auto token = static_cast<int64_t>(i / 3);
    if (span.end > span.begin) {
      if (span.sequence >= args.pages.dim(0)) {
        fail_id("attention (sequence)", words[i + 2], token, args.pages.dim(0));
      }
      if (span.end > args.pages.dim(1) * page) {
        fail_id("attention (key position)", words[i + 1] - 1u, token, args.pages.dim(1) * page);
      }
      for (int64_t at = span.begin / page; at <= (span.end - 1) / page; ++at) {
        const uint32_t number = pages[span.sequence * args.pages.layout.stride(0) + at];
        if (number >= args.k_cache.dim(0)) {
          fail_id("attention (page)", number, at, args.k_cache.dim(0));
        }
      }
    }
    spans.push_back(span);
  }
  return spans;
}

}  // namespace

void CpuBackend::attention(const AttentionArgs& args, const View& y) {
  count();
  if (y.elements() == 0) {
    return;
  }
  if (args.pages.dtype != DType::U32) {
    fail_dtype("attention", args.pages.dtype);
  }
  const auto* pages =
      reinterpret_cast<const uint32_t*>(input(args.pages, "attention")) + args.pages.layout.offset;
  const std::vector<Span> spans = checked_spans(args, pages);
  const int64_t kv_heads = args.k_cache.dim(1);
  const int64_t dim = args.q.dim(2);
  const int64_t group = args.q.dim(1) / kv_heads;
  const Attention attention{
      args, Cache(args.k_cache), Cache(args.v_cache), pages, group, args.k_cache.dim(2), dim};
  const std::byte* q_data = input(args.q, "attention");
  std::byte* y_data = output(y, "attention");
  const bool direct = y.dtype == DType::F32 && y.layout.stride(-1) == 1;
  pool_.parallel_for(args.q.dim(0) * kv_heads, 1, [&](int64_t begin, int64_t end) {
    std::vector<float> scores;
    std::vector<float> q_buffer(static_cast<size_t>(group * dim));
    std::vector<float> y_buffer(direct ? 0 : static_cast<size_t>(group * dim));
    std::vector<const float*> q(static_cast<size_t>(group));
    std::vector<float*> out(static_cast<size_t>(group));
    for (int64_t i = begin; i < end; ++i) {
      const int64_t token = i / kv_heads;
      const int64_t first = i % kv_heads * group;
      const auto offset = [&](const Layout& layout, int64_t head) {
        return layout.offset + token * layout.stride(0) + head * layout.stride(1);
      };
      for (int64_t h = 0; h < group; ++h) {
        const auto at = static_cast<size_t>(h);
        q[at] = floats_of("attention", args.q.dtype, q_data, offset(args.q.layout, first + h),
                          args.q.layout.stride(2), dim, q_buffer.data() + h * dim);
        out[at] = direct ? reinterpret_cast<float*>(y_data) + offset(y.layout, first + h)
                         : y_buffer.data() + h * dim;
      }
      attention.run(spans[static_cast<size_t>(token)], i % kv_heads, q.data(), out.data(), scores);
      for (int64_t h = 0; !direct && h < group; ++h) {
        store_floats("attention", out[static_cast<size_t>(h)], y.dtype, y_data,
                     offset(y.layout, first + h), y.layout.stride(2), dim);
      }
    }
  });
}

void CpuBackend::kv_write(const View& x, const View& slots, const View& cache) {
  count();
  const std::vector<uint32_t> places = all_ids("kv_write", slots);
  const int64_t page = cache.dim(2);
  const int64_t limit = cache.dim(0) * page;
  for (size_t i = 0; i < places.size(); ++i) {
    if (places[i] >= limit) {
      fail_id("kv_write", places[i], static_cast<int64_t>(i), limit);
    }
  }
  const std::byte* from = input(x, "kv_write");
  std::byte* to = output(cache, "kv_write");
  const int64_t heads = x.dim(1);
  const int64_t dim = x.dim(2);
  pool_.parallel_for(x.dim(0) * heads, row_grain(dim), [&](int64_t begin, int64_t end) {
    std::vector<float> buffer(static_cast<size_t>(dim));
    for (int64_t row = begin; row < end; ++row) {
      const int64_t place = places[static_cast<size_t>(row / heads)];
      const float* values = floats_of("kv_write", x.dtype, from, row_offset(x.layout, row),
                                      x.layout.stride(2), dim, buffer.data());
      const Layout& layout = cache.layout;
      const int64_t offset = layout.offset + place / page * layout.stride(0) +
                             row % heads * layout.stride(1) + place % page * layout.stride(2);
      store_row(values, cache, to, offset, dim);
    }
  });
}

}  // namespace candela::cpu
