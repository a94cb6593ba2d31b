#include "tensor/call.h"
#include "tensor/ops.h"

namespace candela {

namespace {

void require_expert_count(const Call& call, int64_t k, int64_t experts) {
  if (k < 1 || k > 64 || k > experts) {
    call.invalid("k is {}, it has to lie in 1..64 and not exceed the number of experts", k);
  }
}

// Expert weights: floats or blocks, whole.
View expert_view(const Call& call, const Tensor& weight) {
  if (is_integer(weight.dtype())) {
    call.require_float(weight);
  }
  return weight.contiguous().view();
}

}  // namespace

Tensor rms_norm(const Tensor& x, const Tensor& weight, float eps) {
  const Call call("rms_norm", {{"x", &x}, {"weight", &weight}});
  call.axis(-1, x);
  call.require_float(weight);
  call.require_shape(weight, Shape{x.dim(-1)});
  Tensor y = call.output(x.shape());
  call.backend().rms_norm(as_f32(call, x).view(), weight.view(), eps, y.view());
  return y;
}

Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, float eps) {
  const Call call("layer_norm", {{"x", &x}, {"weight", &weight}, {"bias", &bias}});
  call.axis(-1, x);
  call.require_float(weight);
  call.require_float(bias);
  call.require_shape(weight, Shape{x.dim(-1)});
  call.require_shape(bias, Shape{x.dim(-1)});
  Tensor y = call.output(x.shape());
  call.backend().layer_norm(as_f32(call, x).view(), weight.view(), bias.view(), eps, y.view());
  return y;
}

Tensor swiglu(const Tensor& gate, const Tensor& up) {
  const Call call("swiglu", {{"gate", &gate}, {"up", &up}});
  call.require_shape(up, gate.shape());
  Tensor y = call.output(gate.shape());
  call.backend().swiglu(as_f32(call, gate).view(), as_f32(call, up).view(), y.view());
  return y;
}

void sample_into(const Tensor& logits, const Tensor& settings, const Tensor& ids) {
  const Call call("sample_into", {{"logits", &logits}, {"settings", &settings}, {"ids", &ids}});
  call.require_rank(logits, 2);
  call.require_dtype(settings, DType::F32);
  call.require_shape(settings, Shape{logits.dim(0), SampleArgs::kSettings});
  call.require_dtype(ids, DType::U32);
  call.require_shape(ids, Shape{logits.dim(0)});
  if (logits.dim(1) == 0) {
    call.invalid("there are no logits to draw from");
  }
  call.backend().sample({as_f32(call, logits).view(), settings.contiguous().view()}, ids.view());
}

void penalise_into(const Tensor& logits,
                   const Tensor& newest,
                   const Tensor& marks,
                   const Tensor& penalties) {
  const Call call(
      "penalise_into",
      {{"logits", &logits}, {"newest", &newest}, {"marks", &marks}, {"penalties", &penalties}});
  call.require_rank(logits, 2);
  call.require_dtype(logits, DType::F32);
  call.require_dtype(marks, DType::U32);
  call.require_shape(marks, logits.shape());
  if (!logits.is_contiguous() || !marks.is_contiguous()) {
    call.invalid("logits and marks have to be contiguous");
  }
  call.require_dtype(newest, DType::U32);
  call.require_shape(newest, Shape{logits.dim(0)});
  call.require_dtype(penalties, DType::F32);
  call.require_shape(penalties, Shape{logits.dim(0)});
  call.backend().penalise(
      {logits.view(), newest.contiguous().view(), marks.view(), penalties.contiguous().view()});
}

std::pair<Tensor, Tensor> moe_route(const Tensor& logits, int64_t k, bool normalize) {
  const Call call("moe_route", {{"logits", &logits}});
  call.require_rank(logits, 2);
  require_expert_count(call, k, logits.dim(1));
  MoeRouteArgs args;
  args.logits = as_f32(call, logits).view();
  args.normalize = normalize;
  Tensor experts = call.output(Shape{logits.dim(0), k}, DType::U32);
  Tensor weights = call.output(Shape{logits.dim(0), k});
  call.backend().moe_route(args, experts.view(), weights.view());
  return {experts, weights};
}

Tensor moe(const Tensor& x,
           const std::pair<Tensor, Tensor>& route,
           const Tensor& gate,
           const Tensor& up,
           const Tensor& down,
           const std::optional<Tensor>& residual) {
  const auto& [experts, weights] = route;
  const Call call("moe", {{"x", &x},
                          {"experts", &experts},
                          {"weights", &weights},
                          {"gate", &gate},
                          {"up", &up},
                          {"down", &down},
                          {"residual", residual ? &*residual : &x}});
  call.require_rank(x, 2);
  call.require_rank(experts, 2);
  call.require_rank(gate, 3);
  call.require_dtype(experts, DType::U32);
  call.require_shape(experts, Shape{x.dim(0), experts.dim(1)});
  call.require_shape(weights, experts.shape());
  call.require_shape(gate, Shape{gate.dim(0), gate.dim(1), x.dim(1)});
  call.require_shape(up, gate.shape());
  call.require_shape(down, Shape{gate.dim(0), x.dim(1), gate.dim(1)});
  MoeArgs args;
  args.x = as_f32(call, x).contiguous().view();
  args.experts = experts.contiguous().view();
  args.weights = as_f32(call, weights).contiguous().view();
  args.gate = expert_view(call, gate);
  args.up = expert_view(call, up);
  args.down = expert_view(call, down);
  if (residual) {
    call.require_shape(*residual, x.shape());
    args.residual = as_f32(call, *residual).contiguous().view();
  }
  Tensor y = call.output(x.shape());
  call.backend().moe(args, y.view());
  return y;
}

Tensor moe_block(const Tensor& x,
                 const Tensor& norm_weight,
                 const Tensor& router,
                 const Tensor& gate,
                 const Tensor& up,
                 const Tensor& down,
                 const MoeBlockOptions& options) {
  const Call call("moe_block", {{"x", &x},
                                {"norm_weight", &norm_weight},
                                {"router", &router},
                                {"gate", &gate},
                                {"up", &up},
                                {"down", &down}});
  call.require_rank(x, 2);
  call.require_rank(router, 2);
  call.require_rank(gate, 3);
  call.require_float(norm_weight);
  call.require_shape(norm_weight, Shape{x.dim(1)});
  call.require_shape(router, Shape{gate.dim(0), x.dim(1)});
  call.require_shape(gate, Shape{gate.dim(0), gate.dim(1), x.dim(1)});
  call.require_shape(up, gate.shape());
  call.require_shape(down, Shape{gate.dim(0), x.dim(1), gate.dim(1)});
  require_expert_count(call, options.experts_per_token, gate.dim(0));
  MoeBlockArgs args;
  args.x = as_f32(call, x).contiguous().view();
  args.norm_weight = norm_weight.view();
  args.norm_eps = options.norm_eps;
  args.router = expert_view(call, router);
  args.experts_per_token = options.experts_per_token;
  args.normalize = options.normalize;
  args.gate = expert_view(call, gate);
  args.up = expert_view(call, up);
  args.down = expert_view(call, down);
  Tensor y = call.output(x.shape());
  call.backend().moe_block(args, y.view());
  return y;
}

Tensor snake_beta(const Tensor& x, const Tensor& alpha, const Tensor& beta) {
  const Call call("snake_beta", {{"x", &x}, {"alpha", &alpha}, {"beta", &beta}});
  call.require_rank(x, 3);
  call.require_shape(alpha, Shape{x.dim(1)});
  call.require_shape(beta, Shape{x.dim(1)});
  Tensor y = call.output(x.shape());
  call.backend().snake_beta(as_f32(call, x).view(), as_f32(call, alpha).view(),
                            as_f32(call, beta).view(), y.view());
  return y;
}

}  // namespace candela
