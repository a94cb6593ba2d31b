#include <algorithm>
#include <cmath>
#include <string_view>

#include "backend/op_args.h"
#include "base/error.h"
#include "parity/case.h"
#include "parity/reference.h"
#include "tensor/ops.h"

namespace candela::parity {

namespace {

size_t at(int64_t value) {
  return static_cast<size_t>(value);
}

/// A step of several sequences: `news` new tokens each after `olds` cached positions.
struct StepShape {
  const char* what;
  int64_t heads, kv_heads, dim, page;
  std::vector<int64_t> olds;
  int64_t news = 1;
  int64_t max_span = 0;  ///< 0: the longest context
  bool norm = true;
  bool interleaved = false;
  bool recent = false;  ///< the page of the first new position, the one before and later ones
  int64_t rows = 0;     ///< of the output projection that follows, if there is one

  int64_t tokens() const { return static_cast<int64_t>(olds.size()) * news; }
  int64_t longest() const { return *std::max_element(olds.begin(), olds.end()) + news; }
  int64_t max_pages() const { return (longest() + page - 1) / page; }
  int64_t pages() const { return max_pages() * static_cast<int64_t>(olds.size()); }
  bool is_recent(int64_t sequence, int64_t page_of_it) const {
    return recent && page_of_it >= olds[at(sequence)] / page - 1;
  }
  int64_t width() const { return (heads + 2 * kv_heads) * dim; }
  double scale() const {
    return static_cast<double>(static_cast<float>(1.0 / std::sqrt(static_cast<double>(dim))));
  }
};

/// The parts of the packed numbers.
struct Packed {
  Numbers positions, slots, recent_slots, spans, table;
  int64_t recent_pages = 0;  ///< at least one

  /// The table for a cache whose recent pages follow its others.
  Numbers joined_table(int64_t pages) const {
    Numbers out = table;
    for (double& number : out) {
      number = number < kFlag ? number : number - kFlag + static_cast<double>(pages);
    }
    return out;
  }
  static constexpr double kFlag = RecentPages::kFlag;
};

Packed packed(const StepShape& s) {
  Packed out;
  const auto sequences = static_cast<int64_t>(s.olds.size());
  const int64_t all = s.pages();
  Numbers pages;
  for (int64_t i = 0; i < all; ++i) {
    pages.push_back(static_cast<double>(all - 1 - i));  // in disorder
    const bool recent = s.is_recent(i / s.max_pages(), i % s.max_pages());
    out.table.push_back(recent ? Packed::kFlag + static_cast<double>(out.recent_pages)
                               : pages.back());
    out.recent_pages += recent ? 1 : 0;
  }
  out.recent_pages = std::max<int64_t>(out.recent_pages, 1);
  for (int64_t r = 0; r < sequences; ++r) {
    for (int64_t i = 0; i < s.news; ++i) {
      const int64_t position = s.olds[at(r)] + i;
      const size_t entry = at(r * s.max_pages() + position / s.page);
      const auto slot = [&](double page) {
        return page * static_cast<double>(s.page) + static_cast<double>(position % s.page);
      };
      out.positions.push_back(static_cast<double>(position));
      out.slots.push_back(slot(pages[entry]));
      out.recent_slots.push_back(s.recent ? slot(out.table[entry] - Packed::kFlag) : 0.0);
      out.spans.insert(out.spans.end(),
                       {0.0, static_cast<double>(position + 1), static_cast<double>(r)});
    }
  }
  return out;
}

Hosts step_inputs(const StepShape& s, DType dtype) {
  const Packed parts = packed(s);
  Numbers all;
  for (const Numbers* part :
       {&parts.positions, &parts.slots, &parts.recent_slots, &parts.spans, &parts.table}) {
    all.insert(all.end(), part->begin(), part->end());
  }
  const auto count = static_cast<int64_t>(all.size());
  const Shape cache{s.pages(), s.kv_heads, s.page, s.dim};
  const Shape recent{parts.recent_pages, s.kv_heads, s.page, s.dim};
  return {outliers({s.tokens(), s.width()}, 1),
          uniform({2 * s.longest(), s.dim / 2}, -1.0, 1.0, 2),
          numbers({count}, all, DType::U32),
          normal_cache(cache, 3, dtype),
          normal_cache(cache, 4, dtype),
          normal({s.dim}, 5, DType::BF16),
          normal({s.dim}, 6),
          normal(recent, 7, DType::F16),
          normal(recent, 8, DType::F16),
          normal({s.rows, s.heads * s.dim}, 9, DType::BF16),
          normal({s.tokens(), s.rows}, 10)};
}

/// The heads [first, first + count) of the stacked projections.
Host heads_of(const Host& stacked, const StepShape& s, int64_t first, int64_t count) {
  Host out;
  out.shape = Shape{s.tokens(), count, s.dim};
  for (int64_t t = 0; t < s.tokens(); ++t) {
    const auto begin = stacked.values.begin() + t * s.width() + first * s.dim;
    out.values.insert(out.values.end(), begin, begin + count * s.dim);
  }
  return out;
}

void put(Host& cache, const Numbers& x, const StepShape& s, const Numbers& slots) {
  const Numbers rounded = as_cached(x, cache.dtype);
  for (int64_t i = 0; i < static_cast<int64_t>(x.size()); ++i) {
    const auto slot = static_cast<int64_t>(slots[at(i / (s.kv_heads * s.dim))]);
    const int64_t head = i / s.dim % s.kv_heads;
    const int64_t row = (slot / s.page * s.kv_heads + head) * s.page + slot % s.page;
    cache.values[at(row * s.dim + i % s.dim)] = rounded[at(i)];
  }
}

/// The pages of both, one after the other.
Host joined(const Host& cache, const Host& recent) {
  Host all = cache;
  all.shape =
      Shape{cache.shape[0] + recent.shape[0], cache.shape[1], cache.shape[2], cache.shape[3]};
  all.values.insert(all.values.end(), recent.values.begin(), recent.values.end());
  return all;
}

std::vector<Numbers> step_reference(const StepShape& s, const Hosts& in) {
  const Packed parts = packed(s);
  const auto half = static_cast<int64_t>(in[1].values.size() / 2);
  const Shape table{s.longest(), s.dim / 2};
  const Host cos = numbers(table, Numbers(in[1].values.begin(), in[1].values.begin() + half));
  const Host sin = numbers(table, Numbers(in[1].values.begin() + half, in[1].values.end()));
  const Host positions = numbers({s.tokens()}, parts.positions);
  const auto rotate = [&](int64_t first, int64_t count, const Host& norm) {
    Host x = heads_of(in[0], s, first, count);
    x.values = ref_rope(x, cos, sin, positions, s.interleaved, s.norm ? &norm : nullptr, 1e-6);
    return x;
  };
  Host k_cache = in[3], v_cache = in[4], k_recent = in[7], v_recent = in[8];
  const Numbers key = rotate(s.heads, s.kv_heads, in[6]).values;
  const Numbers value = heads_of(in[0], s, s.heads + s.kv_heads, s.kv_heads).values;
  put(k_cache, key, s, parts.slots);
  put(v_cache, value, s, parts.slots);
  if (s.recent) {
    put(k_recent, key, s, parts.recent_slots);
    put(v_recent, value, s, parts.recent_slots);
  }
  const Host q = rotate(0, s.heads, in[5]);
  Numbers y = ref_paged_attention(
      q, joined(k_cache, k_recent), joined(v_cache, v_recent),
      numbers({s.tokens(), 3}, parts.spans),
      numbers({static_cast<int64_t>(s.olds.size()), s.max_pages()}, parts.joined_table(s.pages())),
      s.scale());
  if (s.rows > 0) {
    const Host x = numbers({s.tokens(), s.heads * s.dim}, y);
    y = ref_linear(x, in[9], nullptr, &in[10]);
  }
  if (!s.recent) {
    return {y, k_cache.values, v_cache.values};
  }
  return {y, k_cache.values, v_cache.values, k_recent.values, v_recent.values};
}

/// The pages of both in one memory, as they have to lie.
std::pair<Tensor, Tensor> in_one_memory(const Tensor& cache, const Tensor& recent) {
  const auto bytes = [](const Tensor& x) { return dtype_bytes(x.dtype(), x.elements()); };
  const Tensor all =
      Tensor::empty({(bytes(cache) + bytes(recent)) / 4}, DType::U32, cache.device());
  const auto part = [&](const Tensor& x, int64_t start) {
    const Shape words{bytes(x) / 4};
    all.reinterpret(DType::U32, words, start).copy_from(x.reinterpret(DType::U32, words));
    return all.reinterpret(x.dtype(), x.shape(), start);
  };
  return {part(cache, 0), part(recent, bytes(cache))};
}

Tensors run_step(const StepShape& s, const Tensors& in) {
  const auto heads = [&](int64_t first, int64_t count) {
    return in[0].narrow(1, first * s.dim, count * s.dim).reshape({s.tokens(), count, s.dim});
  };
  int64_t used = 0;
  const auto take = [&](int64_t count) {
    used += count;
    return in[2].narrow(0, used - count, count);
  };
  const Tensor positions = take(s.tokens());
  const Tensor slots = take(s.tokens());
  const Tensor recent_slots = take(s.tokens());
  const Tensor spans = take(3 * s.tokens()).reshape({s.tokens(), 3});
  const Tensor pages = take(s.pages()).reshape({-1, s.max_pages()});
  RopeAttentionOptions options;
  options.interleaved = s.interleaved;
  options.lone = s.news == 1;
  if (s.norm) {
    options.q_norm = in[5];
    options.k_norm = in[6];
    options.norm_eps = 1e-6f;
  }
  if (s.rows > 0) {
    options.output = {in[9], std::nullopt, in[10]};
  }
  Tensors caches{in[3], in[4]};
  if (s.recent) {
    const auto [k, k_recent] = in_one_memory(in[3], in[7]);
    const auto [v, v_recent] = in_one_memory(in[4], in[8]);
    caches = {k, v, k_recent, v_recent};
    options.recent = {k_recent, v_recent, recent_slots};
  }
  Tensors out{rope_attention(
      heads(0, s.heads), heads(s.heads, s.kv_heads), heads(s.heads + s.kv_heads, s.kv_heads),
      in[1].narrow(0, 0, s.longest()), in[1].narrow(0, s.longest(), s.longest()), positions, slots,
      caches[0], caches[1], spans, pages, static_cast<float>(s.scale()),
      s.max_span == 0 ? s.longest() : s.max_span, options)};
  out.insert(out.end(), caches.begin(), caches.end());
  return out;
}

std::vector<StepShape> step_shapes() {
  return {
      {.what = "basic", .heads = 4, .kv_heads = 2, .dim = 32, .page = 64, .olds = {9}},
      {.what = "page_border",
       .heads = 8,
       .kv_heads = 1,
       .dim = 64,
       .page = 64,
       .olds = {0, 63, 64, 130}},
      {.what = "plain",
       .heads = 6,
       .kv_heads = 1,
       .dim = 48,
       .page = 16,
       .olds = {40, 3},
       .norm = false},
      {.what = "interleaved",
       .heads = 3,
       .kv_heads = 3,
       .dim = 24,
       .page = 8,
       .olds = {11, 20},
       .interleaved = true},
      {.what = "long", .heads = 5, .kv_heads = 1, .dim = 16, .page = 64, .olds = {1201}},
      {.what = "short_of_max",
       .heads = 8,
       .kv_heads = 2,
       .dim = 32,
       .page = 64,
       .olds = {2, 77},
       .max_span = 4096},
      {.what = "large_head", .heads = 8, .kv_heads = 1, .dim = 128, .page = 64, .olds = {5, 600}},
      {.what = "larger_head",
       .heads = 4,
       .kv_heads = 2,
       .dim = 256,
       .page = 64,
       .olds = {70},
       .interleaved = true},
      {.what = "odd_head", .heads = 4, .kv_heads = 2, .dim = 18, .page = 7, .olds = {12}},
      {.what = "chunk",
       .heads = 4,
       .kv_heads = 2,
       .dim = 32,
       .page = 16,
       .olds = {9, 30},
       .news = 3},
      {.what = "prompt",
       .heads = 8,
       .kv_heads = 1,
       .dim = 32,
       .page = 64,
       .olds = {0, 70},
       .news = 21},
  };
}

/// Of one token by a bound that asks for matrix cores where there are some.
std::vector<StepShape> matrix_shapes() {
  return {
      {.what = "matrix",
       .heads = 16,
       .kv_heads = 2,
       .dim = 128,
       .page = 64,
       .olds = {777},
       .max_span = 5000},
      {.what = "matrix_odd",
       .heads = 7,
       .kv_heads = 1,
       .dim = 96,
       .page = 16,
       .olds = {130},
       .max_span = 5000,
       .norm = false,
       .interleaved = true},
      {.what = "matrix_alone",
       .heads = 8,
       .kv_heads = 1,
       .dim = 64,
       .page = 64,
       .olds = {0},
       .max_span = 5000},
  };
}

/// With an output projection.
std::vector<StepShape> output_shapes() {
  return {
      {.what = "output",
       .heads = 4,
       .kv_heads = 2,
       .dim = 32,
       .page = 64,
       .olds = {9, 30},
       .rows = 24},
      // One token's splits, one or several, are joined inside the projection.
      {.what = "joined_alone",
       .heads = 8,
       .kv_heads = 2,
       .dim = 32,
       .page = 64,
       .olds = {20},
       .rows = 19},
      {.what = "joined",
       .heads = 8,
       .kv_heads = 2,
       .dim = 32,
       .page = 64,
       .olds = {700},
       .rows = 19},
      {.what = "joined_short_of_max",
       .heads = 6,
       .kv_heads = 1,
       .dim = 64,
       .page = 64,
       .olds = {77},
       .max_span = 2048,
       .rows = 64},
  };
}

Case step_case(const StepShape& s, DType dtype) {
  Case out;
  out.name =
      fmt::format("rope_attention/{}_{}{}", s.what, dtype_name(dtype), s.recent ? "/recent" : "");
  out.op = "rope_attention";
  out.dtype = dtype;
  out.basic = s.what == std::string_view("basic");
  // A new key close to the middle of two steps of the cache's type may be rounded either way.
  out.bound = dtype == DType::F32    ? kExact
              : dtype == DType::BF16 ? Bound{1e-6, 2e-2, 0.0, 0.0}
                                     : Bound{1e-5, 5e-2, 0.0, 0.0};
  out.inputs = [=] { return step_inputs(s, dtype); };
  out.run = [=](const Tensors& in, const Device&) { return run_step(s, in); };
  out.reference = [=](const Hosts& in) { return step_reference(s, in); };
  return out;
}

}  // namespace

void add_rope_attention(Table& table) {
  const auto is = [](const StepShape& s, std::initializer_list<std::string_view> names) {
    return std::ranges::find(names, s.what) != names.end();
  };
  for (const auto& shapes : {output_shapes(), matrix_shapes()}) {
    for (const StepShape& s : shapes) {
      table.push_back(step_case(s, DType::BF16));
    }
  }
  for (StepShape s : step_shapes()) {
    table.push_back(step_case(s, DType::BF16));
    // The types differ only in how the cache is read and written.
    if (is(s, {"basic", "short_of_max", "chunk"})) {
      table.push_back(step_case(s, DType::F32));
    }
    if (is(s, {"basic"})) {
      table.push_back(step_case(s, DType::Q8_16));
    }
    if (is(s, {"page_border", "large_head", "chunk", "prompt"})) {
      s.recent = true;
      table.push_back(step_case(s, DType::Q8_16));
    }
  }
}

}  // namespace candela::parity
