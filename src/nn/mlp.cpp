#include "nn/mlp.h"

namespace candela::nn {

Mlp Mlp::load(const Weights& weights, int64_t hidden, int64_t inner) {
  const std::string names[] = {"gate_proj", "up_proj"};
  const int64_t widths[] = {inner, inner};
  return {LinearGroup::load(weights, names, hidden, widths),
          Linear::load(weights.pp("down_proj"), inner, hidden)};
}

Tensor Mlp::operator()(const Tensor& x, const RmsNorm& norm, const Trace& trace) const {
  if (trace.wants("ln2")) {
    trace("ln2", norm(x));
  }
  const std::vector<Tensor> both = gate_up(x, norm);
  const Tensor inner = swiglu(both[0], both[1]);
  if (trace.wants("mlp")) {
    trace("mlp", down(inner));
  }
  return down(inner, x);
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

void Moe::record(const Tensor& x, const RmsNorm& norm, const Trace& trace) const {
  const Tensor normed = norm(x);
  const Tensor logits = router(normed);
  const auto route = moe_route(logits, experts_per_token, normalize);
  trace("ln2", normed);
  trace("router_logits", logits);
  trace("router_idx", route.first);
  trace("router_w", route.second);
  if (trace.wants("mlp")) {
    trace("mlp", moe(normed, route, gate, up, down));
  }
}

Tensor Moe::operator()(const Tensor& x, const RmsNorm& norm, const Trace& trace) const {
  if (trace.record) {
    record(x, norm, trace);
  }
  MoeBlockOptions options;
  options.norm_eps = norm.eps;
  options.experts_per_token = experts_per_token;
  options.normalize = normalize;
  return moe_block(x, norm.weight, router.weight, gate, up, down, options);
}

}  // namespace candela::nn
