#include "backend/wgpu/attention.h"

#include <algorithm>

#include "backend/wgpu/wgpu_backend.h"
#include "base/error.h"

namespace candela::wgpu {
namespace {

struct DecodeParams {
  uint32_t tokens, heads, kv_heads, dim, splits, page, max_pages;
  float scale;
  uint32_t q_offset, q_token, q_head;
  uint32_t k_offset, k_page, k_head, k_slot;
  uint32_t v_offset, v_page, v_head, v_slot;
  uint32_t spans_offset, pages_offset, y_offset, y_token, y_head;
  uint32_t k_recent, v_recent, unsplit_keys, split_keys;
};

struct MergeParams {
  uint32_t tokens, heads, dim, splits, part_offset, y_offset, y_token, y_head;
};

struct KvWriteParams {
  uint32_t tokens, kv_heads, dim, page, pages;
  uint32_t x_offset, x_token, x_head, x_dim, slots_offset, cache_offset;
};

/// Enough workgroups to fill a large GPU; more splits only cost merging.
constexpr uint32_t kWantedWorkgroups = 512;
constexpr uint32_t kKeysASplit = 128;
constexpr uint32_t kMostSplits = 32;

/// From this many tokens on, and this many a sequence, tokens share tiles of keys and values.
constexpr uint32_t kManyTokens = 16;
constexpr int64_t kTokensASequence = 4;
constexpr uint32_t kTileRows = 32;
/// The same of attention_matrix.
constexpr uint32_t kMatrixTileRows = 128;

bool reads_vec4(const View& cache) {
  return !is_quantized(cache.dtype) && rows_begin_at(cache, 8);
}

void check(const AttentionArgs& args) {
  const DType dtype = args.k_cache.dtype;
  if (!is_cache_type(dtype) || args.v_cache.dtype != dtype) {
    fail(ErrorKind::Unsupported, Subject::Device,
         "attention: caches of type {} and {} are not supported on WebGPU; use F32, BF16 or Q8_16 "
         "for both.",
         dtype_name(dtype), dtype_name(args.v_cache.dtype));
  }
  if (args.q.dim(2) > 256 || !last_gapless(args.k_cache) || !last_gapless(args.v_cache)) {
    fail(ErrorKind::Unsupported, Subject::Device,
         "attention: heads of {} dimensions are not supported on WebGPU; at most 256, gapless, "
         "are.",
         args.q.dim(2));
  }
}

DecodeParams decode_params(const AttentionArgs& args,
                           const View& q,
                           const View& spans,
                           const View& pages) {
  // Caches of blocks are addressed in blocks.
  const auto unit = static_cast<uint32_t>(block_elements(args.k_cache.dtype));
  DecodeParams p{};
  p.tokens = narrow_u32(q.dim(0), "tokens");
  p.heads = narrow_u32(q.dim(1), "heads");
  p.kv_heads = narrow_u32(args.k_cache.dim(1), "key/value heads");
  p.dim = narrow_u32(q.dim(2), "the head size");
  p.splits = 1;
  p.split_keys = kKeysASplit;
  p.page = narrow_u32(args.k_cache.dim(2), "the page size");
  p.max_pages = narrow_u32(pages.dim(1), "pages of a sequence");
  p.scale = args.scale;
  p.q_offset = offset_of(q);
  p.q_token = stride_of(q, 0);
  p.q_head = stride_of(q, 1);
  p.k_offset = offset_of(args.k_cache) / unit;
  p.k_page = stride_of(args.k_cache, 0) / unit;
  p.k_head = stride_of(args.k_cache, 1) / unit;
  p.k_slot = stride_of(args.k_cache, 2) / unit;
  p.v_offset = offset_of(args.v_cache) / unit;
  p.v_page = stride_of(args.v_cache, 0) / unit;
  p.v_head = stride_of(args.v_cache, 1) / unit;
  p.v_slot = stride_of(args.v_cache, 2) / unit;
  p.spans_offset = offset_of(spans);
  p.pages_offset = offset_of(pages);
  if (args.recent) {
    p.k_recent = offset_of(args.recent->k);
    p.v_recent = offset_of(args.recent->v);
  }
  return p;
}

/// A kernel that reads the cache as weights, in quads if `vec4`.
KernelId cache_kernel(const char* name, const AttentionArgs& args, bool vec4) {
  KernelId kernel{name};
  define_weight(kernel, args.k_cache.dtype, vec4);
  substitute_types(kernel, vec4, false);
  if (args.recent) {
    kernel.defines.emplace_back("RECENT");
  }
  return kernel;
}

KernelId decode_kernel(const AttentionArgs& args, uint32_t heads_at_once, bool split) {
  const bool bf16 = args.k_cache.dtype == DType::BF16;
  KernelId kernel = cache_kernel("attention_decode", args, reads_vec4(args.k_cache));
  kernel.substitutions.emplace_back("HEADS", std::to_string(heads_at_once));
  if (bf16 && rows_begin_at(args.v_cache, 2)) {
    kernel.defines.emplace_back("V_EVEN");
  }
  if (split) {
    kernel.defines.emplace_back("SPLIT");
  }
  return kernel;
}

/// Whether the matrix cores' kernel takes this head size and is allowed.
bool on_matrix_cores(const AttentionArgs& args, const Limits& limits, Precision precision) {
  return precision == Precision::Fast && has_matrix_cores(limits) && args.q.dim(2) <= 128;
}

KernelId prefill_kernel(const AttentionArgs& args, bool matrix) {
  const bool vec4 = reads_vec4(args.k_cache) && reads_vec4(args.v_cache);
  const int64_t dim = args.q.dim(2);
  KernelId kernel = cache_kernel(matrix ? "attention_matrix" : "attention_prefill", args, vec4);
  if (!matrix) {
    kernel.substitutions.emplace_back("SLICES", dim <= 64 ? "2" : dim <= 128 ? "4" : "8");
    return kernel;
  }
  kernel.defines.emplace_back("SUBGROUPS");
  kernel.defines.emplace_back("SUBGROUP_MATRIX");
  if (vec4 && args.k_cache.dtype == DType::BF16) {
    kernel.defines.emplace_back("RAW_BF16");
  }
  if (dim > 64) {
    kernel.defines.emplace_back("WIDE");
  }
  return kernel;
}

/// Query heads that share one load of a key: as many as belong together and fit into registers.
uint32_t heads_at_once(uint32_t per_kv, uint32_t dim) {
  const uint32_t most = dim <= 128 ? 8 : 4;
  uint32_t heads = 1;
  while (heads < per_kv && heads < most) {
    heads *= 2;
  }
  return heads;
}

}  // namespace

bool rows_begin_at(const View& view, int64_t step) {
  bool aligned = view.dim(-1) % step == 0 && view.layout.offset % step == 0;
  for (int axis = 0; axis + 1 < view.rank(); ++axis) {
    aligned = aligned && (view.dim(axis) < 2 || view.layout.stride(axis) % step == 0);
  }
  return aligned;
}

void merge_splits(WgpuBackend& backend, const View& part, uint32_t splits, const View& y) {
  const MergeParams params{narrow_u32(y.dim(0), "tokens"),
                           narrow_u32(y.dim(1), "heads"),
                           narrow_u32(y.dim(2), "the head size"),
                           splits,
                           offset_of(part),
                           offset_of(y),
                           stride_of(y, 0),
                           stride_of(y, 1)};
  backend.stream().dispatch({"attention_merge"}, grid_for(uint64_t{params.tokens} * params.heads),
                            params, {whole_in(part), whole_out(y)});
}

Work attention_work(const View& q, const View& k_cache, int64_t sequences, int64_t max_span) {
  const auto queries = static_cast<double>(q.elements());
  const auto a_sequence = static_cast<double>(q.dim(0)) / static_cast<double>(sequences);
  const double seen = std::max(static_cast<double>(max_span) - (a_sequence - 1.0) / 2.0, 1.0);
  const int64_t keys = sequences * max_span * k_cache.dim(1) * k_cache.dim(3);
  return {2.0 * static_cast<double>(dtype_bytes(k_cache.dtype, keys)) + 8.0 * queries,
          4.0 * queries * seen};
}

void WgpuBackend::attention(const AttentionArgs& args, const View& y) {
  if (y.elements() == 0) {
    return;
  }
  check(args);
  const View q = args.q.dtype == DType::F32 && last_gapless(args.q)
                     ? args.q
                     : dense(*this, args.q, DType::F32);
  const View spans = dense(*this, args.spans);
  const View pages = dense(*this, args.pages);
  const bool direct = y.dtype == DType::F32 && last_gapless(y);
  const View to = direct ? y : temporary(*this, y.shape());
  DecodeParams p = decode_params(args, q, spans, pages);
  const uint32_t per_kv = p.heads / p.kv_heads;
  if (p.tokens >= kManyTokens && q.dim(0) >= kTokensASequence * pages.dim(0)) {
    p.y_offset = offset_of(to);
    p.y_token = stride_of(to, 0);
    p.y_head = stride_of(to, 1);
    const bool matrix = on_matrix_cores(args, limits(), context_->options().precision);
    const uint32_t rows = matrix ? kMatrixTileRows : kTileRows;
    const uint64_t tiles = (uint64_t{p.tokens} * per_kv + rows - 1) / rows;
    stream_->dispatch(prefill_kernel(args, matrix), grid_for(tiles * p.kv_heads), p,
                      {whole_in(q), whole_in(args.k_cache), whole_in(args.v_cache), whole_in(spans),
                       whole_in(pages), whole_out(to)},
                      attention_work(q, args.k_cache, pages.dim(0), args.max_span));
    if (!direct) {
      copy(to, y);
    }
    return;
  }
  const uint32_t at_once = heads_at_once(per_kv, p.dim);
  const uint64_t base = uint64_t{p.tokens} * p.kv_heads * ((per_kv + at_once - 1) / at_once);
  const auto useful = static_cast<uint64_t>((args.max_span + kKeysASplit - 1) / kKeysASplit);
  p.splits = static_cast<uint32_t>(
      std::clamp<uint64_t>(std::min<uint64_t>(kWantedWorkgroups / base, useful), 1, kMostSplits));
  const bool split = p.splits > 1;
  View part = to;
  if (split) {
    part = temporary(*this, Shape{q.dim(0), q.dim(1), p.splits, q.dim(2) + 2});
  } else {
    p.y_token = stride_of(to, 0);
    p.y_head = stride_of(to, 1);
  }
  p.y_offset = offset_of(part);
  stream_->dispatch(decode_kernel(args, at_once, split), grid_for(base * p.splits), p,
                    {whole_in(q), whole_in(args.k_cache), whole_in(args.v_cache), whole_in(spans),
                     whole_in(pages), whole_out(part)},
                    attention_work(q, args.k_cache, q.dim(0), args.max_span));
  if (split) {
    merge_splits(*this, part, p.splits, to);
  }
  if (!direct) {
    copy(to, y);
  }
}

void WgpuBackend::kv_write(const View& x, const View& slots, const View& cache) {
  if (x.elements() == 0) {
    return;
  }
  if (!(is_cache_type(cache.dtype) || cache.dtype == DType::F16) || !cache.layout.is_contiguous()) {
    fail(ErrorKind::Unsupported, Subject::Device,
         "kv_write: a cache of type {} is not supported on WebGPU; use a gapless F32, BF16, F16 "
         "or Q8_16 one.",
         dtype_name(cache.dtype));
  }
  const View from = x.dtype == DType::F32 ? x : dense(*this, x, DType::F32);
  const View where = dense(*this, slots);
  KvWriteParams p{};
  p.tokens = narrow_u32(from.dim(0), "tokens");
  p.kv_heads = narrow_u32(from.dim(1), "key/value heads");
  p.dim = narrow_u32(from.dim(2), "the head size");
  p.page = narrow_u32(cache.dim(2), "the page size");
  p.pages = narrow_u32(cache.dim(0), "pages");
  p.x_offset = offset_of(from);
  p.x_token = stride_of(from, 0);
  p.x_head = stride_of(from, 1);
  p.x_dim = stride_of(from, 2);
  p.slots_offset = offset_of(where);
  p.cache_offset = offset_of(cache);
  KernelId kernel{"kv_write"};
  uint64_t width = p.dim;
  if (cache.dtype == DType::F32) {
    kernel.defines.emplace_back("KV_F32");
  } else if (cache.dtype == DType::Q8_16) {
    kernel.defines.emplace_back("KV_Q8_16");
    width /= 32;
  } else {
    const bool pairs = rows_begin_at(cache, 2);
    kernel.defines.emplace_back(cache.dtype == DType::F16 ? "KV_F16" : "KV_BF16");
    kernel.defines.emplace_back(pairs ? "KV_PAIRS" : "KV_ATOMIC");
    width /= pairs ? 2 : 1;
  }
  const uint64_t count = width * p.tokens * p.kv_heads;
  stream_->dispatch(kernel, grid_for((count + 255) / 256), p,
                    {whole_in(from), whole_in(where), whole_out(cache)});
}

}  // namespace candela::wgpu
