#include "nn/mlp.h"

namespace candela::nn {

Mlp Mlp::load(const Weights& weights, int64_t hidden, int64_t inner) {
  return {Linear::load(weights.pp("gate_proj"), hidden, inner),
          Linear::load(weights.pp("up_proj"), hidden, inner),
          Linear::load(weights.pp("down_proj"), inner, hidden)};
}

Tensor Mlp::operator()(const Tensor& x, const Tensor& residual, const Trace& trace) const {
  const Tensor inner = swiglu(gate(x), up(x));
  if (trace.wants("mlp")) {
    trace("mlp", down(inner));
  }
  return down(inner, residual);
}

Moe Moe::load(const Weights& weights, const Sizes& sizes) {
  const Weights experts = weights.pp("experts");
  Moe moe;
  moe.router = Linear::load(weights.pp("gate"), sizes.hidden, sizes.experts);
  const Shape wide{sizes.inner, sizes.hidden};
  moe.gate = experts.get_stacked(sizes.experts, "gate_proj.weight", wide);
  moe.up = experts.get_stacked(sizes.experts, "up_proj.weight", wide);
  moe.down = experts.get_stacked(sizes.experts, "down_proj.weight", {sizes.hidden, sizes.inner});
  moe.experts_per_token = sizes.experts_per_token;
  moe.normalize = sizes.normalize;
  return moe;
}

Tensor Moe::operator()(const Tensor& x, const Tensor& residual, const Trace& trace) const {
  const Tensor logits = router(x);
  const auto route = moe_route(logits, experts_per_token, normalize);
  trace("router_logits", logits);
  trace("router_idx", route.first);
  trace("router_w", route.second);
  if (trace.wants("mlp")) {
    trace("mlp", moe(x, route, gate, up, down));
  }
  return moe(x, route, gate, up, down, residual);
}

}  // namespace candela::nn
