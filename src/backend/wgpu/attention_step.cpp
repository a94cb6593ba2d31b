#include <algorithm>
#include <bit>

#include "backend/wgpu/attention.h"
#include "backend/wgpu/wgpu_backend.h"

namespace candela::wgpu {
namespace {

struct StepParams {
  uint32_t tokens, heads, kv_heads, dim, splits, page_shift, cache_pages, max_pages;
  float scale, eps;
  uint32_t interleaved;
  uint32_t q_offset, q_token, q_head, k_offset, k_token, k_head, v_offset, v_token, v_head;
  uint32_t cos_offset, sin_offset, positions_offset, slots_offset, spans_offset, pages_offset;
  uint32_t k_cache_offset, v_cache_offset;
  uint32_t q_norm_offset, q_norm_kind, k_norm_offset, k_norm_kind;
  uint32_t y_offset, y_token, y_head;
  uint32_t recent_slots_offset, k_recent, v_recent, unsplit_keys, split_keys;
};

/// How the work of a step is cut: by tokens and the bound of their intervals alone, so that a
/// recorded dispatch stays right while the context grows. A sequence uses as many of the splits as
/// its own length says (attention_split.wgsl).
struct Cut {
  uint32_t heads = 1;  ///< query heads that share the load of a key
  uint32_t splits = 1;
  uint32_t unsplit_keys = 0, split_keys = 1;
  bool matrix = false;  ///< by attention_step_matrix
};

/// Of attention_step, at most.
constexpr uint32_t kWorkgroupBytes = 18 * 1024;

/// Up to this many keys one workgroup is quicker than several and a merge.
constexpr uint32_t kUnsplitKeys = 512;
/// One a core of a large GPU: more only wait for each other, and cost the merge.
constexpr uint64_t kWantedWorkgroups = 132;
constexpr uint32_t kKeysASplit = 64;
constexpr uint64_t kMostSplits = 32;
/// Where the output projection joins the splits they cost less. With more keys a workgroup for all
/// heads of a key, and many splits, is quicker.
constexpr int64_t kKeysAJoinedSplit = 256;
constexpr int64_t kMostJoinedKeys = 4096;
/// With more keys than these matrix cores are quicker still.
constexpr int64_t kMatrixKeys = 2048;

/// Lanes of a team: each takes eight dimensions.
uint32_t lanes_for(int64_t dim) {
  return dim <= 64 ? 8 : dim <= 128 ? 16 : 32;
}

/// Whether attention_step_matrix does the work of this cut. Sequences that have neighbours do not
/// get it: their results would depend on whether one of these is long.
bool on_matrix_cores(const RopeAttentionArgs& args, const Cut& cut, const Limits& limits) {
  return has_matrix_cores(limits) && args.q.dim(0) == 1 && args.max_span > kMatrixKeys &&
         cut.splits > 1 && cut.heads == 8 && args.q.dim(2) <= 128 &&
         args.k_cache.dtype == DType::BF16;
}

/// The cut of work whose splits attention_merge joins.
Cut cut_of(const RopeAttentionArgs& args, const Limits& limits) {
  const auto tokens = narrow_u32(args.q.dim(0), "tokens");
  const auto kv_heads = narrow_u32(args.k.dim(1), "key/value heads");
  const uint32_t per_kv = narrow_u32(args.q.dim(1), "heads") / kv_heads;
  // A team more than heads: it makes the key.
  const uint32_t most_heads = lanes_for(args.q.dim(2)) == 32 ? 4 : 8;
  Cut cut{1, 1, kUnsplitKeys, kKeysASplit};
  while (cut.heads < per_kv && cut.heads < most_heads) {
    cut.heads *= 2;
  }
  const auto groups = [&] {
    return uint64_t{tokens} * kv_heads * ((per_kv + cut.heads - 1) / cut.heads);
  };
  if (args.max_span > kUnsplitKeys) {
    const uint64_t useful = (static_cast<uint64_t>(args.max_span) + kKeysASplit - 1) / kKeysASplit;
    cut.splits = static_cast<uint32_t>(
        std::clamp<uint64_t>(std::min(kWantedWorkgroups / groups(), useful), 1, kMostSplits));
  }
  while (cut.splits == 1 && cut.heads > 1 && groups() <= kWantedWorkgroups) {
    cut.heads /= 2;
  }
  cut.matrix = on_matrix_cores(args, cut, limits);
  return cut;
}

bool one_buffer(std::initializer_list<const View*> views) {
  return std::all_of(views.begin(), views.end(), [&](const View* view) {
    return view->storage == (*views.begin())->storage && !view->storage->is_segmented();
  });
}

bool cache_fits(const View& cache) {
  const int64_t step = std::max<int64_t>(block_elements(cache.dtype), 8);
  return cache.layout.is_contiguous() && rows_begin_at(cache, step) && one_buffer({&cache});
}

/// The cut of one token's work whose splits the output projection joins: each head by itself, so
/// that few splits fill the device.
Cut joined_cut(int64_t max_span) {
  const int64_t wanted = (max_span + kKeysAJoinedSplit - 1) / kKeysAJoinedSplit;
  return {1, static_cast<uint32_t>(std::clamp<int64_t>(wanted, 1, kMostJoined))};
}

/// Whether attention_step takes these operands; others go the long way.
bool step_takes(const RopeAttentionArgs& args, const Limits& limits) {
  const int64_t dim = args.q.dim(2);
  if (!args.lone || !one_subgroup_size(limits) || dim > 256 ||
      lanes_for(dim) > limits.subgroup_min || dim % (args.interleaved ? 8 : 16) != 0 ||
      limits.max_workgroup_bytes < kWorkgroupBytes ||
      !std::has_single_bit(static_cast<uint64_t>(args.k_cache.dim(2)))) {
    return false;
  }
  for (const View* x : {&args.q, &args.k, &args.v}) {
    if (x->dtype != DType::F32 || !last_gapless(*x) || !rows_begin_at(*x, 4)) {
      return false;
    }
  }
  const View& recent_slots = args.recent ? args.recent->slots : args.slots;
  for (const View* ids : {&args.positions, &args.slots, &recent_slots, &args.spans, &args.pages}) {
    if (!ids->layout.is_contiguous()) {
      return false;
    }
  }
  if (args.recent && !(cache_fits(args.recent->k) && cache_fits(args.recent->v))) {
    return false;
  }
  return one_buffer({&args.q, &args.k, &args.v}) && one_buffer({&args.cos, &args.sin}) &&
         args.cos.layout.is_contiguous() && args.sin.layout.is_contiguous() &&
         args.cos.layout.offset % 4 == 0 && args.sin.layout.offset % 4 == 0 &&
         one_buffer({&args.positions, &args.slots, &recent_slots, &args.spans, &args.pages}) &&
         cache_fits(args.k_cache) && cache_fits(args.v_cache) &&
         is_cache_type(args.k_cache.dtype) && args.k_cache.dtype == args.v_cache.dtype &&
         args.k_cache.storage != args.v_cache.storage;
}

StepParams step_params(const RopeAttentionArgs& args, const Cut& cut) {
  StepParams p{};
  p.tokens = narrow_u32(args.q.dim(0), "tokens");
  p.heads = narrow_u32(args.q.dim(1), "heads");
  p.kv_heads = narrow_u32(args.k.dim(1), "key/value heads");
  p.dim = narrow_u32(args.q.dim(2), "the head size");
  p.splits = cut.splits;
  p.unsplit_keys = cut.unsplit_keys;
  p.split_keys = cut.split_keys;
  p.page_shift =
      static_cast<uint32_t>(std::countr_zero(static_cast<uint64_t>(args.k_cache.dim(2))));
  p.cache_pages = narrow_u32(args.k_cache.dim(0), "pages");
  p.max_pages = narrow_u32(args.pages.dim(1), "pages of a sequence");
  p.scale = args.scale;
  p.eps = args.norm_eps;
  p.interleaved = args.interleaved ? 1 : 0;
  p.q_offset = offset_of(args.q);
  p.q_token = stride_of(args.q, 0);
  p.q_head = stride_of(args.q, 1);
  p.k_offset = offset_of(args.k);
  p.k_token = stride_of(args.k, 0);
  p.k_head = stride_of(args.k, 1);
  p.v_offset = offset_of(args.v);
  p.v_token = stride_of(args.v, 0);
  p.v_head = stride_of(args.v, 1);
  p.cos_offset = offset_of(args.cos);
  p.sin_offset = offset_of(args.sin);
  p.positions_offset = offset_of(args.positions);
  p.slots_offset = offset_of(args.slots);
  p.spans_offset = offset_of(args.spans);
  p.pages_offset = offset_of(args.pages);
  p.k_cache_offset = offset_of(args.k_cache);
  p.v_cache_offset = offset_of(args.v_cache);
  if (args.recent) {
    p.recent_slots_offset = offset_of(args.recent->slots);
    p.k_recent = offset_of(args.recent->k);
    p.v_recent = offset_of(args.recent->v);
  }
  return p;
}

KernelId step_kernel(const RopeAttentionArgs& args, const Cut& cut, bool split, bool software) {
  KernelId kernel{cut.matrix ? "attention_step_matrix" : "attention_step"};
  const bool vec4 = !is_quantized(args.k_cache.dtype);
  define_weight(kernel, args.k_cache.dtype, vec4);
  substitute_types(kernel, vec4, false);
  kernel.defines.emplace_back("SUBGROUPS");
  if (args.recent) {
    kernel.defines.emplace_back("RECENT");
  }
  kernel.substitutions.emplace_back("HEADS", std::to_string(cut.heads));
  if (cut.matrix) {
    kernel.defines.emplace_back("SUBGROUP_MATRIX");
    return kernel;
  }
  kernel.substitutions.emplace_back("LANES", std::to_string(lanes_for(args.q.dim(2))));
  // Keys in flight hide the memory's latency; a software driver only compiles longer. They decide
  // how sums are rounded, so sequences that have neighbours always have as many.
  const bool three = cut.heads > 4 || args.q.dim(0) > 1;
  kernel.substitutions.emplace_back("AHEAD", software ? "1" : three ? "3" : "4");
  if (split) {
    kernel.defines.emplace_back("SPLIT");
  }
  return kernel;
}

/// Runs attention_step into `y` [tokens, heads, dim] or, without it, its splits into scratch
/// memory.
View run_step(WgpuBackend& backend, const RopeAttentionArgs& args, const Cut& cut, const View* y) {
  StepParams p = step_params(args, cut);
  KernelId kernel = step_kernel(args, cut, y == nullptr, backend.limits().software);
  View part;
  if (y == nullptr) {
    part = temporary(backend, Shape{args.q.dim(0), args.q.dim(1), cut.splits, args.q.dim(2) + 2});
  } else {
    part = *y;
    p.y_token = stride_of(part, 0);
    p.y_head = stride_of(part, 1);
  }
  p.y_offset = offset_of(part);
  std::vector<Operand> operands{whole_in(args.q),        whole_in(args.positions),
                                whole_in(args.cos),      whole_out(args.k_cache),
                                whole_out(args.v_cache), whole_out(part)};
  if (args.q_norm && args.k_norm) {
    const View q_norm = dense(backend, *args.q_norm);
    const View k_norm = dense(backend, *args.k_norm);
    kernel.defines.emplace_back("WITH_NORM");
    p.q_norm_offset = offset_of(q_norm);
    p.q_norm_kind = real_kind(q_norm.dtype, "rope_attention");
    p.k_norm_offset = offset_of(k_norm);
    p.k_norm_kind = real_kind(k_norm.dtype, "rope_attention");
    operands.push_back(whole_in(q_norm));
    operands.push_back(whole_in(k_norm));
  }
  const uint64_t chunks = (p.heads / p.kv_heads + cut.heads - 1) / cut.heads;
  backend.stream().dispatch_bytes(
      kernel, grid_for(uint64_t{p.tokens} * p.kv_heads * chunks * cut.splits),
      std::as_bytes(std::span(&p, 1)), operands,
      attention_work(args.q, args.k_cache, args.q.dim(0), args.max_span));
  return part;
}

}  // namespace

void WgpuBackend::rope_attention(const RopeAttentionArgs& args, const View& y) {
  if (!step_takes(args, limits())) {
    return Backend::rope_attention(args, y);
  }
  if (y.elements() == 0) {
    return;
  }
  const Cut cut = cut_of(args, limits());
  if (!cut.matrix && args.output && args.output->residual && args.max_span <= kMostJoinedKeys &&
      can_join(limits(), *args.output, *args.output->residual, args.q, y)) {
    const Cut joined = joined_cut(args.max_span);
    const View part = run_step(*this, args, joined, nullptr);
    return join_and_project(*this, args.output->weight, *args.output->residual, part, args.q,
                            joined.splits, y);
  }
  if (args.output || y.dtype != DType::F32 || !last_gapless(y) || !one_buffer({&y})) {
    return Backend::rope_attention(args, y);
  }
  const View part = run_step(*this, args, cut, cut.splits == 1 ? &y : nullptr);
  if (cut.splits > 1) {
    merge_splits(*this, part, cut.splits, y);
  }
}

}  // namespace candela::wgpu
