// Default bodies of linear, moe_route and moe. Weights that a matmul cannot read as they are (in
// several segments, or quantised) are copied to F32 a few rows at a time.
#include <algorithm>

#include "backend/fused_ops.h"
#include "base/error.h"

namespace candela {

namespace {

// Weight rows copied at a time: 256 rows of 4096 floats are 4 MiB.
constexpr int64_t kRows = 256;

View transposed(const View& matrix) {
  return fused::with_layout(matrix, matrix.layout.transpose(0, 1));
}

/// y = x weight^T for weight [out, in] of any kind.
void multiply(Backend& backend, const View& x, const View& weight, const View& y) {
  if (!is_quantized(weight.dtype) && !weight.storage->is_segmented()) {
    backend.matmul(x, transposed(weight), y);
    return;
  }
  for (int64_t row = 0; row < weight.dim(0); row += kRows) {
    const int64_t count = std::min(kRows, weight.dim(0) - row);
    const View piece = fused::to_f32(backend, fused::narrow(weight, 0, row, count));
    backend.matmul(x, transposed(piece), fused::narrow(y, 1, row, count));
  }
}

/// y += x, x broadcast.
void add_to(Backend& backend, const View& x, const View& y) {
  // Outputs never share storage with inputs, hence the way over fresh memory.
  backend.copy(fused::binary(backend, BinaryKind::add, y, x), y);
}

/// Where the choices of one expert stand among all [tokens * k].
struct Chosen {
  std::vector<uint32_t> tokens;
  std::vector<uint32_t> places;
};

std::vector<Chosen> by_expert(std::span<const uint32_t> experts, int64_t k, int64_t count) {
  std::vector<Chosen> out(static_cast<size_t>(count));
  for (size_t i = 0; i < experts.size(); ++i) {
    if (experts[i] >= count) {
      fail(ErrorKind::InvalidArgument, Subject::Input,
           "moe: the expert {} at position {} is outside of the {} experts.", experts[i], i, count);
    }
    out[experts[i]].tokens.push_back(static_cast<uint32_t>(i / static_cast<size_t>(k)));
    out[experts[i]].places.push_back(static_cast<uint32_t>(i));
  }
  return out;
}

/// Weighted outputs [chosen, hidden] of one expert.
View run_expert(Backend& backend, const MoeArgs& args, int64_t expert, const Chosen& chosen) {
  const auto count = static_cast<int64_t>(chosen.tokens.size());
  const View x = scratch(backend, Shape{count, args.x.dim(1)});
  backend.gather_rows(args.x, fused::upload_ids(backend, chosen.tokens), x);
  const auto project = [&](const View& from, const View& weights) {
    const View weight = fused::select(weights, expert);
    const View y = scratch(backend, Shape{count, weight.dim(0)});
    LinearArgs linear;
    linear.x = from;
    linear.weight = weight;
    backend.linear(linear, y);
    return y;
  };
  const View hidden = scratch(backend, Shape{count, args.gate.dim(1)});
  backend.swiglu(project(x, args.gate), project(x, args.up), hidden);
  const View flat = fused::with_layout(
      args.weights, Layout(Shape{args.weights.elements(), 1}, args.weights.layout.offset));
  const View shares = scratch(backend, Shape{count, 1});
  backend.gather_rows(flat, fused::upload_ids(backend, chosen.places), shares);
  return fused::binary(backend, BinaryKind::mul, project(hidden, args.down), shares);
}

}  // namespace

View Backend::normed(const LinearArgs& args) {
  if (!args.norm_weight) {
    return args.x;
  }
  const View x = scratch(*this, args.x.shape());
  rms_norm(args.x, *args.norm_weight, args.norm_eps, x);
  return x;
}

void Backend::linear(const LinearArgs& args, const View& y) {
  multiply(*this, normed(args), args.weight, y);
  if (args.bias) {
    add_to(*this, *args.bias, y);
  }
  if (args.residual) {
    add_to(*this, *args.residual, y);
  }
}

void Backend::moe_route(const MoeRouteArgs& args, const View& experts, const View& weights) {
  const View shares = scratch(*this, args.logits.shape());
  softmax(args.logits, shares);
  if (!args.normalize) {
    top_k(shares, weights, experts);
    return;
  }
  const View best = scratch(*this, weights.shape());
  top_k(shares, best, experts);
  const View sum = fused::reduce(*this, ReduceKind::sum, best);
  binary(BinaryKind::div, best, fused::with_layout(sum, sum.layout.broadcast_to(best.shape())),
         weights);
}

void Backend::moe(const MoeArgs& args, const View& y) {
  if (args.residual) {
    copy(*args.residual, y);
  } else {
    fill(y, 0.0);
  }
  const std::vector<uint32_t> experts = fused::download_ids(*this, args.experts);
  const std::vector<Chosen> all = by_expert(experts, args.experts.dim(1), args.gate.dim(0));
  for (size_t expert = 0; expert < all.size(); ++expert) {
    if (all[expert].tokens.empty()) {
      continue;
    }
    const View outputs = run_expert(*this, args, static_cast<int64_t>(expert), all[expert]);
    const View tokens = fused::upload_ids(*this, all[expert].tokens);
    const Layout index = tokens.layout.unsqueeze(1).broadcast_to(outputs.shape());
    scatter_add(outputs, 0, fused::with_layout(tokens, index), y);
  }
}

void Backend::moe_block(const MoeBlockArgs& args, const View& y) {
  const View normed = scratch(*this, args.x.shape());
  rms_norm(args.x, args.norm_weight, args.norm_eps, normed);
  LinearArgs router;
  router.x = normed;
  router.weight = args.router;
  router.sensitive = true;
  const View logits = scratch(*this, Shape{args.x.dim(0), args.router.dim(0)});
  linear(router, logits);
  const Shape chosen{args.x.dim(0), args.experts_per_token};
  const View experts = scratch(*this, chosen, DType::U32);
  const View weights = scratch(*this, chosen);
  moe_route({logits, args.normalize}, experts, weights);
  moe({normed, experts, weights, args.gate, args.up, args.down, args.x}, y);
}

}  // namespace candela
