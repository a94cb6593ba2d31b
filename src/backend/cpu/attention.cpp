#include <array>
#include <cmath>
#include <optional>

#include "backend/cpu/cpu_backend.h"
#include "backend/cpu/dot_rows.h"
#include "backend/cpu/loops.h"
#include "backend/cpu/simd.h"
#include "backend/cpu/storage.h"
#include "base/error.h"
#include "base/q8.h"

namespace candela::cpu {

namespace {

struct Span {
  int64_t begin, end, sequence;
};

/// Pages of one type: the row of position s of a sequence and head.
struct Pages {
  const std::byte* data;
  const Layout& layout;
  DType dtype;

  explicit Pages(const View& view)
      : data(input(view, "attention")), layout(view.layout), dtype(view.dtype) {
    if (!is_float(dtype) && dtype != DType::Q8_16) {
      fail_dtype("attention", dtype);
    }
  }
  const std::byte* row(int64_t page, int64_t head, int64_t slot) const {
    const int64_t at =
        layout.offset + page * layout.stride(0) + head * layout.stride(1) + slot * layout.stride(2);
    return data + at / block_elements(dtype) * block_bytes(dtype);
  }
};

/// A cache of keys or values, and its recent pages if it has some.
struct Cache {
  Pages older;
  std::optional<Pages> recent;

  Cache(const View& cache, const View* newest) : older(cache) {
    if (newest != nullptr) {
      recent.emplace(*newest);
    }
  }
};

/// Rows of one type.
struct Rows {
  std::span<const std::byte* const> rows;
  DType dtype;

  Rows subspan(size_t first, size_t count) const { return {rows.subspan(first, count), dtype}; }
};

/// One head's new key or value to its place in a cache.
void store_row(const float* values, const View& cache, std::byte* to, int64_t offset, int64_t dim) {
  if (cache.dtype == DType::F16) {
    constexpr float kMost = 65504.0f;  // what is larger would become infinite
    auto* halves = reinterpret_cast<Float16*>(to) + offset;
    for (int64_t i = 0; i < dim; ++i) {
      halves[i * cache.layout.stride(3)] = to_f16(std::clamp(values[i], -kMost, kMost));
    }
    return;
  }
  if (cache.dtype != DType::Q8_16) {
    store_floats("kv_write", values, cache.dtype, to, offset, cache.layout.stride(3), dim);
    return;
  }
  const int64_t block = block_elements(DType::Q8_16);
  for (int64_t i = 0; i < dim; i += block) {
    to_q8_16(values + i, to + (offset + i) / block * block_bytes(DType::Q8_16));
  }
}

/// The rows of one sequence and head, kept from one query to the next: neighbours see nearly the
/// same positions.
class CacheRows {
 public:
  CacheRows(const Cache& cache, const View& pages, const uint32_t* numbers)
      : cache_(cache),
        page_size_(cache.older.layout.shape[2]),
        numbers_stride_(pages.layout.stride(0)),
        numbers_(numbers) {}

  /// Of all positions in `span`: what lies in older pages, then what lies in recent ones.
  std::array<Rows, 2> of(const Span& span, int64_t head) {
    if (span.sequence != sequence_ || span.begin != begin_ || head != head_) {
      sequence_ = span.sequence;
      begin_ = span.begin;
      head_ = head;
      rows_.clear();
      older_ = 0;
    }
    for (int64_t at = begin_ + static_cast<int64_t>(rows_.size()); at < span.end; ++at) {
      const uint32_t page = numbers_[sequence_ * numbers_stride_ + at / page_size_];
      if (cache_.recent && (page & RecentPages::kFlag) != 0) {
        rows_.push_back(cache_.recent->row(page & ~RecentPages::kFlag, head_, at % page_size_));
      } else {
        rows_.push_back(cache_.older.row(page, head_, at % page_size_));
        older_ = rows_.size();
      }
    }
    const std::span<const std::byte* const> all(
        rows_.data(), static_cast<size_t>(std::max<int64_t>(span.end - span.begin, 0)));
    const size_t older = std::min(older_, all.size());
    const DType recent = cache_.recent ? cache_.recent->dtype : cache_.older.dtype;
    return {Rows{all.first(older), cache_.older.dtype}, Rows{all.subspan(older), recent}};
  }

 private:
  const Cache& cache_;
  int64_t page_size_, numbers_stride_;
  const uint32_t* numbers_;
  int64_t sequence_ = -1, begin_ = -1, head_ = -1;
  std::vector<const std::byte*> rows_;
  size_t older_ = 0;  // of rows_; recent pages come last
};

/// The query heads of one token that share a key/value head.
struct Queries {
  std::span<const float* const> q;
  std::span<float* const> y;         // gapless rows
  std::span<float* const> log_sums;  // of exp(score), to join parts by
};

/// Attention over part of the positions that a token sees.
class Attention {
 public:
  Attention(const AttentionArgs& args,
            const Cache& keys,
            const Cache& values,
            const uint32_t* pages)
      : scale_(args.scale),
        dim_(args.q.dim(2)),
        keys_(keys, args.pages, pages),
        values_(values, args.pages, pages) {}

  void run(const Span& span, int64_t head, const Queries& queries) {
    const auto keys = keys_.of(span, head);
    const size_t length = keys[0].rows.size() + keys[1].rows.size();
    scores_.resize(queries.q.size() * length);
    std::vector<float*> rows;
    rows.reserve(queries.q.size());
    for (size_t i = 0; i < queries.q.size(); ++i) {
      rows.push_back(scores_.data() + i * length);
    }
    for_blocks(keys, rows, [&](const Rows& block, const std::vector<float*>& scores) {
      dot_rows(queries.q, dim_, block.dtype, block.rows, {scores.data()});
    });
    for (float& score : scores_) {
      score *= scale_;
    }
    for (size_t i = 0; i < rows.size(); ++i) {
      *queries.log_sums[i] = simd().softmax(rows[i], static_cast<int64_t>(length), rows[i]);
      std::fill_n(queries.y[i], dim_, 0.0f);
    }
    for_blocks(values_.of(span, head), rows,
               [&](const Rows& block, const std::vector<float*>& shares) {
                 simd()
                     .of(block.dtype)
                     .mix(shares.data(), static_cast<int>(shares.size()), block.rows.data(),
                          static_cast<int64_t>(block.rows.size()), dim_, queries.y.data());
               });
  }

 private:
  // Positions whose rows stay in the second cache while all query heads pass by.
  static constexpr size_t kBlock = 512;

  /// Calls body(rows, scores) for blocks of positions; `scores` holds a row of them a query head.
  template <typename Body>
  static void for_blocks(const std::array<Rows, 2>& parts,
                         const std::vector<float*>& scores,
                         const Body& body) {
    std::vector<float*> at(scores);
    for (const Rows& part : parts) {
      for (size_t s = 0; s < part.rows.size(); s += kBlock) {
        const Rows block = part.subspan(s, std::min(kBlock, part.rows.size() - s));
        body(block, at);
        for (float*& row : at) {
          row += block.rows.size();
        }
      }
    }
  }

  float scale_;
  int64_t dim_;
  CacheRows keys_, values_;
  std::vector<float> scores_;
};

/// How the work is cut: by token and key/value head, and by parts of the span where that is too
/// little for all threads, as for one token after a long prompt.
struct Split {
  struct Task {
    int64_t kv_head, token, part;
  };

  int64_t tokens, heads, kv_heads, group, parts = 1;

  Split(const AttentionArgs& args, const std::vector<Span>& spans, int threads)
      : tokens(args.q.dim(0)),
        heads(args.q.dim(1)),
        kv_heads(args.k_cache.dim(1)),
        group(heads / kv_heads) {
    constexpr int64_t kLeast = 256;  // positions worth a part
    int64_t longest = 0;
    for (const Span& span : spans) {
      longest = std::max(longest, span.end - span.begin);
    }
    const int64_t wanted = int64_t{2} * threads / (tokens * kv_heads);
    parts = std::max<int64_t>(std::min(wanted, longest / kLeast), 1);
  }

  int64_t tasks() const { return tokens * kv_heads * parts; }
  /// Neighbours share a head, so that its rows stay cached.
  Task task(int64_t i) const { return {i / parts / tokens, i / parts % tokens, i % parts}; }
  int64_t rows() const { return tokens * heads * parts; }
  int64_t row(int64_t token, int64_t head, int64_t part) const {
    return (token * heads + head) * parts + part;
  }
  Span span(const Span& all, int64_t part) const {
    const int64_t length = std::max<int64_t>(all.end - all.begin, 0);
    return {all.begin + length * part / parts, all.begin + length * (part + 1) / parts,
            all.sequence};
  }
};

/// y = the parts of each token and head, weighted by their sums.
void join(ThreadPool& pool,
          const Split& split,
          const float* partial,
          float* log_sums,
          const View& y,
          std::byte* y_data) {
  const int64_t dim = y.dim(2);
  pool.parallel_for(
      split.tokens * split.heads, row_grain(dim * split.parts), [&](int64_t begin, int64_t end) {
        std::vector<const std::byte*> parts(static_cast<size_t>(split.parts));
        FloatRow out("attention", y, y_data);
        for (int64_t row = begin; row < end; ++row) {
          float* weights = log_sums + row * split.parts;
          simd().softmax(weights, split.parts, weights);
          for (int64_t p = 0; p < split.parts; ++p) {
            parts[static_cast<size_t>(p)] =
                reinterpret_cast<const std::byte*>(partial + (row * split.parts + p) * dim);
          }
          const int64_t offset = row_offset(y.layout, row);
          float* to = out.at(offset);
          std::fill_n(to, dim, 0.0f);
          simd().of(DType::F32).mix(&weights, 1, parts.data(), split.parts, dim, &to);
          out.done(offset);
        }
      });
}

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
        const bool recent = args.recent && (number & RecentPages::kFlag) != 0;
        const int64_t limit = (recent ? args.recent->k : args.k_cache).dim(0);
        const uint32_t index = recent ? number & ~RecentPages::kFlag : number;
        if (index >= limit) {
          fail_id("attention (page)", index, at, limit);
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
  const Split split(args, spans, pool_.threads());
  const int64_t dim = args.q.dim(2);
  const bool direct = split.parts == 1 && y.dtype == DType::F32 && y.layout.stride(-1) == 1;
  const std::byte* q_data = input(args.q, "attention");
  std::byte* y_data = output(y, "attention");
  std::vector<float> partial(direct ? 0 : static_cast<size_t>(split.rows() * dim));
  std::vector<float> log_sums(static_cast<size_t>(split.rows()));
  const Cache keys(args.k_cache, args.recent ? &args.recent->k : nullptr);
  const Cache values(args.v_cache, args.recent ? &args.recent->v : nullptr);
  pool_.parallel_for(split.tasks(), 1, [&](int64_t begin, int64_t end) {
    Attention attention(args, keys, values, pages);
    std::vector<float> q_buffer(static_cast<size_t>(split.group * dim));
    std::vector<const float*> q(static_cast<size_t>(split.group));
    std::vector<float*> out(q.size());
    std::vector<float*> sums(q.size());
    for (int64_t i = begin; i < end; ++i) {
      const Split::Task task = split.task(i);
      for (int64_t h = 0; h < split.group; ++h) {
        const auto at = static_cast<size_t>(h);
        const int64_t head = task.kv_head * split.group + h;
        const int64_t row = split.row(task.token, head, task.part);
        const auto offset = [&](const Layout& layout) {
          return layout.offset + task.token * layout.stride(0) + head * layout.stride(1);
        };
        q[at] = floats_of("attention", args.q.dtype, q_data, offset(args.q.layout),
                          args.q.layout.stride(2), dim, q_buffer.data() + h * dim);
        out[at] = direct ? reinterpret_cast<float*>(y_data) + offset(y.layout)
                         : partial.data() + row * dim;
        sums[at] = &log_sums[static_cast<size_t>(row)];
      }
      attention.run(split.span(spans[static_cast<size_t>(task.token)], task.part), task.kv_head,
                    {q, out, sums});
    }
  });
  if (!direct) {
    join(pool_, split, partial.data(), log_sums.data(), y, y_data);
  }
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
