#include <algorithm>

#include "backend/wgpu/rows.h"
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

bool last_gapless(const View& view) {
  return view.dim(-1) <= 1 || view.layout.stride(-1) == 1;
}

uint32_t stride(const View& view, int axis) {
  return narrow_u32(view.layout.stride(axis), "a stride of attention");
}

uint32_t offset(const View& view) {
  return narrow_u32(view.layout.offset, "an offset of attention");
}

/// Whether every row of a cache begins at a multiple of `step` elements.
bool rows_begin_at(const View& cache, int64_t step) {
  const Layout& layout = cache.layout;
  return cache.dim(-1) % step == 0 && layout.offset % step == 0 && layout.stride(0) % step == 0 &&
         layout.stride(1) % step == 0 && layout.stride(2) % step == 0;
}

void check(const AttentionArgs& args) {
  const DType dtype = args.k_cache.dtype;
  if ((dtype != DType::F32 && dtype != DType::BF16) || args.v_cache.dtype != dtype) {
    fail(ErrorKind::Unsupported, Subject::Device,
         "attention: caches of type {} and {} are not supported on WebGPU; use F32 or BF16 for "
         "both.",
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
  DecodeParams p{};
  p.tokens = narrow_u32(q.dim(0), "tokens");
  p.heads = narrow_u32(q.dim(1), "heads");
  p.kv_heads = narrow_u32(args.k_cache.dim(1), "key/value heads");
  p.dim = narrow_u32(q.dim(2), "the head size");
  p.splits = 1;
  p.page = narrow_u32(args.k_cache.dim(2), "the page size");
  p.max_pages = narrow_u32(pages.dim(1), "pages of a sequence");
  p.scale = args.scale;
  p.q_offset = offset(q);
  p.q_token = stride(q, 0);
  p.q_head = stride(q, 1);
  p.k_offset = offset(args.k_cache);
  p.k_page = stride(args.k_cache, 0);
  p.k_head = stride(args.k_cache, 1);
  p.k_slot = stride(args.k_cache, 2);
  p.v_offset = offset(args.v_cache);
  p.v_page = stride(args.v_cache, 0);
  p.v_head = stride(args.v_cache, 1);
  p.v_slot = stride(args.v_cache, 2);
  p.spans_offset = offset(spans);
  p.pages_offset = offset(pages);
  return p;
}

KernelId decode_kernel(const AttentionArgs& args, uint32_t heads_at_once, bool split) {
  const bool bf16 = args.k_cache.dtype == DType::BF16;
  const bool vec4 = rows_begin_at(args.k_cache, 8);
  KernelId kernel{"attention_decode"};
  define_weight(kernel, args.k_cache.dtype, vec4);
  substitute_types(kernel, vec4, false);
  kernel.substitutions.emplace_back("HEADS", std::to_string(heads_at_once));
  if (bf16 && rows_begin_at(args.v_cache, 2)) {
    kernel.defines.emplace_back("V_EVEN");
  }
  if (split) {
    kernel.defines.emplace_back("SPLIT");
  }
  return kernel;
}

KernelId prefill_kernel(const AttentionArgs& args) {
  const bool vec4 = rows_begin_at(args.k_cache, 8) && rows_begin_at(args.v_cache, 8);
  const int64_t dim = args.q.dim(2);
  KernelId kernel{"attention_prefill"};
  define_weight(kernel, args.k_cache.dtype, vec4);
  substitute_types(kernel, vec4, false);
  kernel.substitutions.emplace_back("SLICES", dim <= 64 ? "2" : dim <= 128 ? "4" : "8");
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
    p.y_offset = offset(to);
    p.y_token = stride(to, 0);
    p.y_head = stride(to, 1);
    const uint64_t tiles = (uint64_t{p.tokens} * per_kv + kTileRows - 1) / kTileRows;
    stream_->dispatch(prefill_kernel(args), grid_for(tiles * p.kv_heads), p,
                      {whole_in(q), whole_in(args.k_cache), whole_in(args.v_cache), whole_in(spans),
                       whole_in(pages), whole_out(to)});
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
    p.y_token = stride(to, 0);
    p.y_head = stride(to, 1);
  }
  p.y_offset = offset(part);
  stream_->dispatch(decode_kernel(args, at_once, split), grid_for(base * p.splits), p,
                    {whole_in(q), whole_in(args.k_cache), whole_in(args.v_cache), whole_in(spans),
                     whole_in(pages), whole_out(part)});
  if (split) {
    const MergeParams merge{p.tokens,   p.heads,    p.dim,         p.splits,
                            p.y_offset, offset(to), stride(to, 0), stride(to, 1)};
    stream_->dispatch({"attention_merge"}, grid_for(uint64_t{p.tokens} * p.heads), merge,
                      {whole_in(part), whole_out(to)});
  }
  if (!direct) {
    copy(to, y);
  }
}

void WgpuBackend::kv_write(const View& x, const View& slots, const View& cache) {
  if (x.elements() == 0) {
    return;
  }
  if ((cache.dtype != DType::F32 && cache.dtype != DType::BF16) || !cache.layout.is_contiguous()) {
    fail(ErrorKind::Unsupported, Subject::Device,
         "kv_write: a cache of type {} is not supported on WebGPU; use a gapless F32 or BF16 one.",
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
  p.x_offset = offset(from);
  p.x_token = stride(from, 0);
  p.x_head = stride(from, 1);
  p.x_dim = stride(from, 2);
  p.slots_offset = offset(where);
  p.cache_offset = offset(cache);
  KernelId kernel{"kv_write"};
  uint64_t width = p.dim;
  if (cache.dtype == DType::BF16) {
    kernel.defines.emplace_back("KV_BF16");
    if (rows_begin_at(cache, 2)) {
      width /= 2;
    } else {
      kernel.defines.emplace_back("KV_ODD");
    }
  }
  const uint64_t count = width * p.tokens * p.kv_heads;
  stream_->dispatch(kernel, grid_for((count + 255) / 256), p,
                    {whole_in(from), whole_in(where), whole_out(cache)});
}

}  // namespace candela::wgpu
