// The layers against a direct computation in double, written from the definitions.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "nn/attention.h"
#include "nn/mlp.h"
#include "weights/files.h"
#include "weights/writer.h"

namespace candela::nn {
namespace {

using Values = std::vector<double>;

const Device& cpu() {
  static const Device device = Device::cpu(1);
  return device;
}

/// Random weights in a file, and the same numbers as doubles.
class Layers {
 public:
  Tensor add(const std::string& name, const Shape& shape) {
    const Tensor tensor = Tensor::randn(shape, 0.0, 0.5, ++seed_, cpu());
    writer_.add(name, tensor);
    return tensor;
  }
  void add_as(const std::string& name, const Tensor& tensor) { writer_.add(name, tensor); }
  Weights open() {
    writer_.save(folder_ / "model.safetensors");
    return Weights(open_weights(folder_ / "model.safetensors"), cpu());
  }

 private:
  test::TempFolder folder_;
  SafetensorsWriter writer_;
  uint64_t seed_ = 100;
};

Values doubles(const Tensor& tensor) {
  const auto values = tensor.contiguous().to_vec<float>();
  return {values.begin(), values.end()};
}

/// x [rows, in] times weight [out, in] transposed.
Values times(const Values& x, const Values& weight, size_t in) {
  const size_t rows = x.size() / in, out = weight.size() / in;
  Values y(rows * out);
  for (size_t r = 0; r < rows; ++r) {
    for (size_t o = 0; o < out; ++o) {
      for (size_t i = 0; i < in; ++i) {
        y[r * out + o] += x[r * in + i] * weight[o * in + i];
      }
    }
  }
  return y;
}

double silu_of(double x) {
  return x / (1.0 + std::exp(-x));
}

Values gated(const Values& x,
             const Values& gate,
             const Values& up,
             const Values& down,
             size_t hidden,
             size_t inner) {
  Values g = times(x, gate, hidden);
  const Values u = times(x, up, hidden);
  for (size_t i = 0; i < g.size(); ++i) {
    g[i] = silu_of(g[i]) * u[i];
  }
  return times(g, down, inner);
}

void expect_near(const Tensor& actual, const Values& expected, double tolerance = 2e-5) {
  const Values got = doubles(actual);
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i) {
    ASSERT_NEAR(got[i], expected[i], tolerance) << "element " << i;
  }
}

constexpr double kNormEps = 1e-5;

/// An RMSNorm of random weights and what it does to rows, computed in double.
struct NormCase {
  RmsNorm norm;
  Values weight;

  explicit NormCase(int64_t size)
      : norm{Tensor::randn({size}, 1, 0.5, 50, cpu()), static_cast<float>(kNormEps)},
        weight(doubles(norm.weight)) {}

  Values operator()(Values x) const {
    for (size_t at = 0; at < x.size(); at += weight.size()) {
      double squares = 0.0;
      for (size_t i = 0; i < weight.size(); ++i) {
        squares += x[at + i] * x[at + i];
      }
      for (size_t i = 0; i < weight.size(); ++i) {
        x[at + i] *= weight[i] / std::sqrt(squares / static_cast<double>(weight.size()) + kNormEps);
      }
    }
    return x;
  }
};

Values plus(Values a, const Values& b) {
  for (size_t i = 0; i < a.size(); ++i) {
    a[i] += b[i];
  }
  return a;
}

TEST(Mlp, EqualsItsDefinition) {
  constexpr int64_t kHidden = 6, kInner = 10;
  Layers layers;
  const Values gate = doubles(layers.add("mlp.gate_proj.weight", {kInner, kHidden}));
  const Values up = doubles(layers.add("mlp.up_proj.weight", {kInner, kHidden}));
  const Values down = doubles(layers.add("mlp.down_proj.weight", {kHidden, kInner}));
  const Mlp mlp = Mlp::load(layers.open().pp("mlp"), kHidden, kInner);
  const Tensor x = Tensor::randn({3, kHidden}, 0, 1, 1, cpu());
  const NormCase norm(kHidden);
  expect_near(mlp(x, norm.norm, {}),
              plus(doubles(x), gated(norm(doubles(x)), gate, up, down, kHidden, kInner)));
}

struct MoeCase {
  static constexpr int64_t kHidden = 6, kInner = 4, kExperts = 5, kUsed = 2;
  Values router;
  std::vector<Values> gate, up, down;

  Values operator()(const Values& x, bool normalize) const {
    Values y(x.size());
    for (size_t t = 0; t < x.size() / kHidden; ++t) {
      const Values row(x.begin() + static_cast<ptrdiff_t>(t * kHidden),
                       x.begin() + static_cast<ptrdiff_t>((t + 1) * kHidden));
      Values p = times(row, router, kHidden);
      double total = 0.0;
      for (double& value : p) {
        total += value = std::exp(value);
      }
      std::vector<size_t> order = {0, 1, 2, 3, 4};
      std::ranges::sort(order, [&](size_t a, size_t b) { return p[a] > p[b]; });
      const double divide = normalize ? p[order[0]] + p[order[1]] : total;
      for (size_t j = 0; j < kUsed; ++j) {
        const size_t e = order[j];
        const Values out = gated(row, gate[e], up[e], down[e], kHidden, kInner);
        for (size_t i = 0; i < kHidden; ++i) {
          y[t * kHidden + i] += p[e] / divide * out[i];
        }
      }
    }
    return y;
  }
};

TEST(Moe, EqualsItsDefinitionWithAndWithoutNormalizedWeights) {
  Layers layers;
  MoeCase reference;
  reference.router = doubles(layers.add("gate.weight", {MoeCase::kExperts, MoeCase::kHidden}));
  for (int e = 0; e < MoeCase::kExperts; ++e) {
    const std::string name = "experts." + std::to_string(e);
    const Shape wide{MoeCase::kInner, MoeCase::kHidden};
    reference.gate.push_back(doubles(layers.add(name + ".gate_proj.weight", wide)));
    reference.up.push_back(doubles(layers.add(name + ".up_proj.weight", wide)));
    reference.down.push_back(
        doubles(layers.add(name + ".down_proj.weight", {MoeCase::kHidden, MoeCase::kInner})));
  }
  const Weights weights = layers.open();
  const Tensor x = Tensor::randn({7, MoeCase::kHidden}, 0, 1, 3, cpu());
  const NormCase norm(MoeCase::kHidden);
  for (const bool normalize : {true, false}) {
    const Moe moe = Moe::load(weights, {.hidden = MoeCase::kHidden,
                                        .inner = MoeCase::kInner,
                                        .experts = MoeCase::kExperts,
                                        .experts_per_token = MoeCase::kUsed,
                                        .normalize = normalize});
    expect_near(moe(x, norm.norm, {}), plus(doubles(x), reference(norm(doubles(x)), normalize)));
  }
}

struct AttentionCase {
  static constexpr size_t kHidden = 8, kHeads = 4, kKvHeads = 2, kDim = 6, kTokens = 5;
  static constexpr double kTheta = 100.0, kEps = 1e-6;
  Values q, k, v, o, q_bias, k_bias, v_bias, o_bias, q_norm, k_norm;
  bool interleaved = false;

  /// [tokens, heads, dim] of one projection: bias, norm of each head, rotation.
  Values project(const Values& x,
                 const Values& weight,
                 const Values& bias,
                 const Values& norm) const {
    Values y = times(x, weight, kHidden);
    for (size_t i = 0; i < y.size(); ++i) {
      y[i] += bias[i % bias.size()];
    }
    const size_t width = bias.size();
    for (size_t at = 0; !norm.empty() && at < y.size(); at += kDim) {
      double squares = 0.0;
      for (size_t i = 0; i < kDim; ++i) {
        squares += y[at + i] * y[at + i];
      }
      for (size_t i = 0; i < kDim; ++i) {
        y[at + i] *= norm[i] / std::sqrt(squares / kDim + kEps);
      }
      rotate(&y[at], static_cast<double>(at / width));
    }
    return y;
  }
  void rotate(double* head, double position) const {
    for (size_t i = 0; i < kDim / 2; ++i) {
      const double angle = position * std::pow(kTheta, -2.0 * static_cast<double>(i) / kDim);
      double& a = head[interleaved ? 2 * i : i];
      double& b = head[interleaved ? 2 * i + 1 : i + kDim / 2];
      const double turned = a * std::cos(angle) - b * std::sin(angle);
      b = b * std::cos(angle) + a * std::sin(angle);
      a = turned;
    }
  }
  Values operator()(const Values& x) const {
    const Values qs = project(x, q, q_bias, q_norm), ks = project(x, k, k_bias, k_norm);
    const Values vs = project(x, v, v_bias, {});
    Values context(kTokens * kHeads * kDim);
    for (size_t t = 0; t < kTokens; ++t) {
      for (size_t h = 0; h < kHeads; ++h) {
        attend(&qs[(t * kHeads + h) * kDim], ks, vs, t, h / (kHeads / kKvHeads),
               &context[(t * kHeads + h) * kDim]);
      }
    }
    Values y = times(context, o, kHeads * kDim);
    for (size_t i = 0; i < y.size(); ++i) {
      y[i] += o_bias[i % kHidden];
    }
    return y;
  }
  static void attend(const double* query,
                     const Values& ks,
                     const Values& vs,
                     size_t last,
                     size_t group,
                     double* out) {
    Values weights;
    double total = 0.0;
    for (size_t s = 0; s <= last; ++s) {
      double score = 0.0;
      for (size_t i = 0; i < kDim; ++i) {
        score += query[i] * ks[(s * kKvHeads + group) * kDim + i];
      }
      weights.push_back(std::exp(score / std::sqrt(static_cast<double>(kDim))));
      total += weights.back();
    }
    for (size_t s = 0; s <= last; ++s) {
      for (size_t i = 0; i < kDim; ++i) {
        out[i] += weights[s] / total * vs[(s * kKvHeads + group) * kDim + i];
      }
    }
  }
};

TEST(Attention, EqualsItsDefinitionInOnePassAndTokenByToken) {
  using C = AttentionCase;
  const auto size = [](size_t n) { return static_cast<int64_t>(n); };
  Layers layers;
  AttentionCase reference;
  const auto add = [&](const std::string& name, size_t out, size_t in, Values& weight,
                       Values& bias) {
    weight = doubles(layers.add(name + ".weight", {size(out), size(in)}));
    bias = doubles(layers.add(name + ".bias", {size(out)}));
  };
  add("q_proj", C::kHeads * C::kDim, C::kHidden, reference.q, reference.q_bias);
  add("k_proj", C::kKvHeads * C::kDim, C::kHidden, reference.k, reference.k_bias);
  add("v_proj", C::kKvHeads * C::kDim, C::kHidden, reference.v, reference.v_bias);
  add("o_proj", C::kHidden, C::kHeads * C::kDim, reference.o, reference.o_bias);
  reference.q_norm = doubles(layers.add("q_norm.weight", {size(C::kDim)}));
  reference.k_norm = doubles(layers.add("k_norm.weight", {size(C::kDim)}));
  const Weights weights = layers.open();
  const Tensor x = Tensor::randn({size(C::kTokens), size(C::kHidden)}, 0, 1, 4, cpu());
  const NormCase norm(size(C::kHidden));
  Rotary rotary(size(C::kDim), C::kTheta, cpu());
  rotary.reserve(size(C::kTokens));

  for (const bool interleaved : {false, true}) {
    const Attention attention = Attention::load(weights, {.hidden = size(C::kHidden),
                                                          .heads = size(C::kHeads),
                                                          .kv_heads = size(C::kKvHeads),
                                                          .head_dim = size(C::kDim),
                                                          .bias = true,
                                                          .qk_norm = true,
                                                          .eps = static_cast<float>(C::kEps),
                                                          .interleaved_rope = interleaved});
    reference.interleaved = interleaved;
    const Values expected = plus(doubles(x), reference(norm(doubles(x))));
    for (const size_t chunk : {C::kTokens, size_t{1}, size_t{2}}) {
      KvCache cache({.layers = 1,
                     .kv_heads = size(C::kKvHeads),
                     .head_dim = size(C::kDim),
                     .dtype = DType::F32},
                    cpu());
      KvSequence sequence;
      Values got;
      for (size_t at = 0; at < C::kTokens; at += chunk) {
        const std::vector<uint32_t> ids(std::min(chunk, C::kTokens - at), 0u);
        const StepRow row{&sequence, ids, false};
        const Step step = Step::pack({&row, 1}, cache, cpu());
        const Tensor part = x.narrow(0, size(at), size(ids.size())).contiguous();
        const Values more = doubles(attention(part, norm.norm, step, rotary, cache, 0, {}));
        got.insert(got.end(), more.begin(), more.end());
        sequence.length += size(ids.size());
      }
      ASSERT_EQ(got.size(), expected.size());
      for (size_t i = 0; i < got.size(); ++i) {
        ASSERT_NEAR(got[i], expected[i], 2e-5) << "element " << i << ", chunks of " << chunk;
      }
    }
  }
}

TEST(LinearGroup, StacksMatricesOfOneTypeAndKeepsOthersApart) {
  Layers layers;
  const Tensor a = layers.add("a.weight", {2, 3}), b = layers.add("b.weight", {4, 3});
  layers.add_as("c.weight", a.to_dtype(DType::BF16));
  const Weights weights = layers.open();
  const NormCase norm(3);
  const Tensor x = Tensor::randn({5, 3}, 0, 1, 3, cpu());
  const std::string alike[] = {"a", "b"}, mixed[] = {"b", "c"};
  const int64_t widths[] = {2, 4}, mixed_widths[] = {4, 2};
  const LinearGroup stacked = LinearGroup::load(weights, alike, 3, widths);
  EXPECT_EQ(stacked.products.size(), 1U);
  expect_near(stacked(x, norm.norm)[0], times(norm(doubles(x)), doubles(a), 3));
  expect_near(stacked(x, norm.norm)[1], times(norm(doubles(x)), doubles(b), 3));
  const LinearGroup apart = LinearGroup::load(weights, mixed, 3, mixed_widths);
  EXPECT_EQ(apart.products.size(), 2U);
  expect_near(apart(x, norm.norm)[0], times(norm(doubles(x)), doubles(b), 3));
}

TEST(Linear, ReadsABiasOnlyIfAskedFor) {
  Layers layers;
  layers.add("a.weight", {2, 3});
  layers.add("a.bias", {2});
  const Weights weights = layers.open();
  EXPECT_FALSE(Linear::load(weights.pp("a"), 3, 2).bias);
  EXPECT_EQ(weights.unread(), std::vector<std::string>{"a.bias"});
  EXPECT_TRUE(Linear::load(weights.pp("a"), 3, 2, true).bias);
  EXPECT_TRUE(weights.unread().empty());
  EXPECT_THROW(Linear::load(weights.pp("a"), 2, 3), Error);
}

}  // namespace
}  // namespace candela::nn
