// moe_block in one of three ways: for one token, for many on matrix cores, or op by op.
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

}  // namespace

void WgpuBackend::moe_block(const MoeBlockArgs& args, const View& y) {
  if (has_matrix(*this, args, y)) {
    return moe_block_matrix(*this, args, y);
  }
  if (!moe_one(*this, args, y)) {
    Backend::moe_block(args, y);
  }
}

}  // namespace candela::wgpu
