// moe_block in one of four ways: for one token, for few, for many on matrix cores, or op by op.
#include "backend/wgpu/moe.h"
#include "backend/wgpu/wgpu_backend.h"

namespace candela::wgpu {
namespace {

/// Whether matrix cores can make all products, from one set of terms of x.
bool has_matrix(const WgpuBackend& backend, const MoeBlockArgs& args, const View& y) {
  const auto rows = [](const View& weight) { return weight_rows(weight, "moe_block"); };
  return moe_wants_matrix(static_cast<uint32_t>(args.x.dim(0)), args.gate.dim(0)) &&
         moe_has_matrix(backend.limits(), rows(args.gate), rows(args.up), rows(args.down)) &&
         can_use_matrix(rows(args.router)) && args.x.dtype == DType::F32 &&
         args.x.layout.is_contiguous() && args.gate.dim(1) > 0 && y.dtype == DType::F32 &&
         y.layout.is_contiguous();
}

/// Router and experts share the terms of x.
void moe_block_matrix(WgpuBackend& backend, const MoeBlockArgs& args, const View& y) {
  const int64_t tokens = args.x.dim(0);
  const RowNorm norm{dense(backend, args.norm_weight), args.norm_eps};
  const MatrixTerms x = matrix_terms(
      backend, args.x,
      matrix_term_count(backend.context().options().precision, static_cast<uint32_t>(tokens)),
      norm);
  LinearArgs router;
  router.x = args.x;
  router.weight = args.router;
  const View logits = temporary(backend, {tokens, args.router.dim(0)});
  backend.linear_terms(router, x, logits);
  const View experts = temporary(backend, {tokens, args.experts_per_token}, DType::U32);
  const View weights = temporary(backend, {tokens, args.experts_per_token});
  backend.moe_route({logits, args.normalize}, experts, weights);
  MoeRun run = moe_run(backend, {args.x, experts, weights, args.gate, args.up, args.down, args.x});
  run.x_terms = x;
  moe_matrix(run, backend, y);
}

/// Steps that a lane of moe_router makes in an unrolled loop.
constexpr uint32_t kRouterRound = 4;

struct RouterParams {
  uint32_t tokens, experts, x_offset, norm_offset, w_start, w_stride, n_offset, logits_offset;
  float eps;
};

/// Whether moe_router makes the logits: few tokens, and rows that it reads by 16 bytes.
bool has_router(const WgpuBackend& backend, const MoeBlockArgs& args) {
  const Limits& limits = backend.limits();
  const int64_t tokens = args.x.dim(0);
  const int64_t hidden = args.x.dim(1);
  constexpr int64_t kSquares = 256;  // bytes
  return tokens > 1 && !moe_wants_matrix(static_cast<uint32_t>(tokens), args.router.dim(0)) &&
         use_subgroups(limits) && weight_rows(args.router, "moe_block").is_whole() &&
         args.x.dtype == DType::F32 && args.x.layout.is_contiguous() && rows_of(args.x).vec4() &&
         hidden * 4 + kSquares <= int64_t{limits.max_workgroup_bytes} &&
         norm_by_eights(args.norm_weight) && args.gate.dim(1) > 0;
}

/// Norm and logits in one dispatch, then the ops.
void moe_block_few(WgpuBackend& backend, const MoeBlockArgs& args, const View& y) {
  const Weight router = weight_rows(args.router, "moe_block");
  const int64_t tokens = args.x.dim(0);
  const View normed = temporary(backend, args.x.shape());
  const View logits = temporary(backend, {tokens, args.router.dim(0)});
  KernelId kernel{"moe_router", {"SUBGROUPS"}};
  define_weight(kernel, router.dtype, router.vec4);
  substitute_types(kernel, router.vec4, true);
  define_round(kernel, router.cols, backend.limits().subgroup_max, kRouterRound);
  kernel.substitutions.emplace_back("HIDDEN", std::to_string(router.cols));
  if (args.norm_weight.dtype == DType::BF16) {
    kernel.defines.emplace_back("NORM_BF16");
  }
  const RouterParams params{narrow_u32(tokens, "tokens"),
                            router.rows,
                            moe_offset(args.x),
                            moe_offset(args.norm_weight),
                            router.pieces[0].start,
                            router.stride,
                            moe_offset(normed),
                            moe_offset(logits),
                            args.norm_eps};
  const uint64_t blocks = moe_blocks(router.rows, uint64_t{rows_a_workgroup(backend.limits())} * 4);
  backend.stream().dispatch(kernel, grid_for(blocks * params.tokens), params,
                            {whole_in(args.x), whole_in(args.norm_weight), in(args.router),
                             whole_out(normed), whole_out(logits)},
                            product_work(params.tokens, router, router.pieces[0]));
  const View experts = temporary(backend, {tokens, args.experts_per_token}, DType::U32);
  const View weights = temporary(backend, {tokens, args.experts_per_token});
  backend.moe_route({logits, args.normalize}, experts, weights);
  backend.moe({normed, experts, weights, args.gate, args.up, args.down, args.x}, y);
}

}  // namespace

void WgpuBackend::moe_block(const MoeBlockArgs& args, const View& y) {
  if (has_matrix(*this, args, y)) {
    return moe_block_matrix(*this, args, y);
  }
  if (has_router(*this, args)) {
    return moe_block_few(*this, args, y);
  }
  if (!moe_one(*this, args, y)) {
    Backend::moe_block(args, y);
  }
}

}  // namespace candela::wgpu
