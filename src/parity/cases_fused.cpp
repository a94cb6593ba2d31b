#include <cmath>

#include "base/error.h"
#include "parity/case.h"
#include "parity/reference.h"
#include "tensor/ops.h"

namespace candela::parity {

namespace {

constexpr int64_t kEdges[] = {1, 15, 16, 17, 63, 64, 65, 127, 128, 129, 2048};
constexpr float kEps = 1e-6f;

void add_norms(Table& table) {
  const auto rms = [&](const std::string& what, const Host& x, const Host& weight, bool layouts) {
    Case out;
    out.name = "rms_norm/" + what;
    out.op = "rms_norm";
    out.dtype = weight.dtype;
    out.basic = layouts;
    out.inputs = [x, weight] { return Hosts{x, weight}; };
    out.run = [](const Tensors& in, const Device&) {
      return Tensors{rms_norm(in[0], in[1], kEps)};
    };
    out.reference = [](const Hosts& in) {
      return std::vector<Numbers>{ref_rms_norm(in[0], in[1], static_cast<double>(kEps))};
    };
    layouts ? add_with_layouts(table, out) : table.push_back(out);
  };
  const auto layer = [&](const std::string& what, const Host& x, const Host& weight, bool layouts) {
    Case out;
    out.name = "layer_norm/" + what;
    out.op = "layer_norm";
    out.dtype = weight.dtype;
    out.basic = layouts;
    out.inputs = [x, weight] { return Hosts{x, weight, normal(weight.shape, 77, weight.dtype)}; };
    out.run = [](const Tensors& in, const Device&) {
      return Tensors{layer_norm(in[0], in[1], in[2], kEps)};
    };
    out.reference = [](const Hosts& in) {
      return std::vector<Numbers>{ref_layer_norm(in[0], in[1], in[2], static_cast<double>(kEps))};
    };
    layouts ? add_with_layouts(table, out) : table.push_back(out);
  };
  for (const auto& add : {std::function(rms), std::function(layer)}) {
    for (const DType dtype : {DType::F32, DType::BF16, DType::F16}) {
      add(std::string(dtype_name(dtype)), normal({2, 5, 33}, 1), normal({33}, 2, dtype), true);
    }
    for (const int64_t n : kEdges) {
      add(fmt::format("{}_columns", n), normal({3, n}, 3), normal({n}, 4, DType::BF16), false);
    }
    add("outliers", outliers({9, 300}, 5), normal({300}, 6), false);
    add("equal", filled({3, 65}, 0.5), normal({65}, 6), false);
    add("zeros", filled({3, 65}, 0), normal({65}, 6), false);
    add("no_rows", filled({0, 65}, 0), normal({65}, 6), false);
    add("many_rows", normal({66000, 2}, 7), normal({2}, 8), false);
    add("x_BF16", normal({3, 65}, 9, DType::BF16), normal({65}, 10), false);
  }
}

Hosts rope_inputs(int64_t tokens, int64_t heads, int64_t dim) {
  Host angles = uniform({40, dim / 2}, -3, 3, 4);
  Numbers cos, sin;
  for (const double angle : angles.values) {
    cos.push_back(std::cos(angle));
    sin.push_back(std::sin(angle));
  }
  return {normal({tokens, heads, dim}, 1), numbers(angles.shape, cos), numbers(angles.shape, sin),
          integers({tokens}, 40, 2), normal({dim}, 3, DType::BF16)};
}

void add_rope(Table& table) {
  for (const auto& [tokens, heads, dim] : {std::array<int64_t, 3>{5, 3, 16},
                                           {1, 4, 128},
                                           {19, 2, 64},
                                           {7, 1, 24},
                                           {3, 2, 2},
                                           {0, 2, 8}}) {
    for (const bool interleaved : {false, true}) {
      for (const bool norm : {false, true}) {
        Case out;
        out.name = fmt::format("rope/{}x{}x{}{}{}", tokens, heads, dim,
                               interleaved ? "_interleaved" : "", norm ? "_norm" : "");
        out.op = "rope";
        out.basic = tokens == 5;
        out.inputs = [tokens = tokens, heads = heads, dim = dim] {
          return rope_inputs(tokens, heads, dim);
        };
        out.run = [=](const Tensors& in, const Device&) {
          RopeOptions options;
          options.interleaved = interleaved;
          options.norm_weight = norm ? std::optional(in[4]) : std::nullopt;
          options.norm_eps = kEps;
          return Tensors{rope(in[0], in[1], in[2], in[3], options)};
        };
        out.reference = [=](const Hosts& in) {
          return std::vector<Numbers>{ref_rope(in[0], in[1], in[2], in[3], interleaved,
                                               norm ? &in[4] : nullptr, static_cast<double>(kEps))};
        };
        add_with_layouts(table, out);
      }
    }
  }
}

void add_activations(Table& table) {
  const auto swi = [&](const std::string& what, const Host& gate, const Host& up, bool layouts) {
    Case out;
    out.name = "swiglu/" + what;
    out.op = "swiglu";
    out.dtype = gate.dtype;
    out.bound = kExp;
    out.basic = layouts;
    out.inputs = [gate, up] { return Hosts{gate, up}; };
    out.run = [](const Tensors& in, const Device&) { return Tensors{swiglu(in[0], in[1])}; };
    out.reference = [](const Hosts& in) {
      Numbers y;
      for (size_t i = 0; i < in[0].values.size(); ++i) {
        const double x = in[0].values[i];
        y.push_back(x / (1 + std::exp(-x)) * in[1].values[i]);
      }
      return std::vector<Numbers>{y};
    };
    layouts ? add_with_layouts(table, out) : table.push_back(out);
  };
  swi("F32", normal({5, 33}, 1), normal({5, 33}, 2), true);
  swi("BF16", normal({5, 33}, 1, DType::BF16), normal({5, 33}, 2), false);
  swi("large", uniform({5, 33}, -200, 200, 1), normal({5, 33}, 2), false);
  swi("empty", filled({0, 33}, 0), filled({0, 33}, 0), false);

  Case snake;
  snake.name = "snake_beta/F32";
  snake.op = "snake_beta";
  snake.bound = kExp;
  snake.basic = true;
  snake.inputs = [] {
    return Hosts{normal({2, 5, 33}, 1, DType::F32, 3), normal({5}, 2, DType::F32, 0.5),
                 normal({5}, 3, DType::F32, 0.5)};
  };
  snake.run = [](const Tensors& in, const Device&) {
    return Tensors{snake_beta(in[0], in[1], in[2])};
  };
  // sin(a x)^2 loses the rounding of a x: the bound grows with |a x|.
  snake.bound.absolute = 2e-5;
  snake.reference = [](const Hosts& in) {
    Numbers y;
    for (size_t i = 0; i < in[0].values.size(); ++i) {
      const size_t channel = i / 33 % 5;
      const double x = in[0].values[i];
      const double wave = std::sin(std::exp(in[1].values[channel]) * x);
      y.push_back(x + wave * wave / (std::exp(in[2].values[channel]) + 1e-9));
    }
    return std::vector<Numbers>{y};
  };
  add_with_layouts(table, snake);
}

void add_route(Table& table) {
  const auto add = [&](const std::string& what, const Host& logits, int64_t k, bool normalize) {
    Case out;
    out.name = "moe_route/" + what;
    out.op = "moe_route";
    out.bound = kExp;
    out.basic = what == "128_top8";
    out.inputs = [logits] { return Hosts{logits}; };
    out.run = [=](const Tensors& in, const Device&) {
      const auto [experts, weights] = moe_route(in[0], k, normalize);
      return Tensors{experts, weights};
    };
    out.reference = [=](const Hosts& in) { return ref_moe_route(in[0], k, normalize); };
    add_with_layouts(table, out);
  };
  add("128_top8", normal({11, 128}, 1), 8, true);
  add("128_top8_raw", normal({11, 128}, 1), 8, false);
  add("16_top4", normal({1, 16}, 2), 4, true);
  add("8_top1", normal({5, 8}, 3), 1, true);
  add("60_top6", outliers({7, 60}, 4), 6, true);
  add("equal", filled({3, 32}, 1), 8, true);
  add("all", normal({3, 4}, 5), 4, true);
  add("no_tokens", filled({0, 32}, 1), 8, true);
  add("many_tokens", outliers({70, 60}, 6), 3, true);
  add("many_tokens_raw", normal({133, 17}, 7), 4, false);
  add("many_equal", filled({65, 33}, 1), 4, true);
}

Host expert_weight(const Shape& shape, uint64_t seed, DType dtype) {
  return is_quantized(dtype) ? quantized(shape, seed, dtype, 0.2) : normal(shape, seed, dtype, 0.2);
}

struct MoeShape {
  int64_t tokens, k, experts, inner, hidden;
};

/// Which experts the tokens of a case choose.
enum class Chosen {
  Any,
  First,  ///< all the first k: many pairs an expert, and experts without any
  Even,   ///< k of every second one
};

/// Experts and weights of every token.
std::vector<Numbers> route_of(const MoeShape& s, Chosen chosen) {
  Host logits = normal({s.tokens, s.experts}, 9);
  for (size_t i = 0; i < logits.values.size(); ++i) {
    const int64_t expert = static_cast<int64_t>(i) % s.experts;
    if (chosen == Chosen::First ? expert >= s.k : chosen == Chosen::Even && expert % 2 != 0) {
      logits.values[i] -= 100.0;
    }
  }
  return ref_moe_route(logits, s.k, true);
}

Case moe_case(const std::string& what,
              DType dtype,
              const MoeShape& s,
              bool residual,
              Chosen chosen = Chosen::Any,
              bool with_outliers = false) {
  Case out;
  out.name = fmt::format("moe/{}/{}", dtype_name(dtype), what);
  out.op = "moe";
  out.dtype = dtype;
  out.basic = what == "plain";
  out.inputs = [=] {
    const std::vector<Numbers> route = route_of(s, chosen);
    const Shape rows{s.tokens, s.hidden};
    return Hosts{with_outliers ? outliers(rows, 1) : normal(rows, 1),
                 numbers({s.tokens, s.k}, route[0], DType::U32),
                 numbers({s.tokens, s.k}, route[1]),
                 expert_weight({s.experts, s.inner, s.hidden}, 2, dtype),
                 expert_weight({s.experts, s.inner, s.hidden}, 3, dtype),
                 expert_weight({s.experts, s.hidden, s.inner}, 4, dtype),
                 normal(rows, 5)};
  };
  out.run = [residual](const Tensors& in, const Device&) {
    return Tensors{moe(in[0], {in[1], in[2]}, in[3], in[4], in[5],
                       residual ? std::optional(in[6]) : std::nullopt)};
  };
  out.reference = [residual](const Hosts& in) {
    return std::vector<Numbers>{
        ref_moe(in[0], in[1], in[2], in[3], in[4], in[5], residual ? &in[6] : nullptr)};
  };
  return out;
}

// Sizes around the tiles of several tokens: 4 pairs and, beyond 64 tokens, 32, 64 and 128.
void add_moe_tiles(Table& table) {
  const auto add = [&](const std::string& what, DType dtype, const MoeShape& s, bool residual,
                       Chosen chosen = Chosen::Any, bool with_outliers = false) {
    table.push_back(moe_case(what, dtype, s, residual, chosen, with_outliers));
  };
  for (const DType dtype : {DType::BF16, DType::F16}) {
    add("tiles_of_four", dtype, {37, 2, 3, 40, 72}, true);
    add("two_tokens", dtype, {2, 3, 16, 24, 40}, false);
    add("same_experts", dtype, {64, 2, 5, 40, 48}, false, Chosen::First);
    add("outliers", dtype, {21, 2, 5, 40, 136}, true, Chosen::Any, true);
    add("few_long", dtype, {6, 2, 4, 512, 768}, true);
    add("prefill_odd", dtype, {71, 3, 7, 33, 45}, true);
    add("prefill_first", dtype, {150, 1, 3, 72, 136}, true, Chosen::First);
    add("prefill_even", dtype, {129, 2, 9, 200, 40}, false, Chosen::Even);
    add("prefill_outliers", dtype, {90, 2, 4, 136, 200}, true, Chosen::Any, true);
    add("prefill_many", dtype, {400, 2, 4, 24, 72}, false);
    add("prefill_deep", dtype, {66, 1, 2, 72, 1096}, true);
    // Beyond 64 KiB: several segments where bindings are that small.
    add("prefill_large", dtype, {66, 2, 6, 120, 120}, true);
  }
  // More pairs than moe_group sorts at a time.
  add("65536_pairs", DType::BF16, {16500, 4, 6, 8, 8}, true);
}

void add_moe(Table& table) {
  const auto add = [&](const std::string& what, DType dtype, const MoeShape& s, bool residual) {
    table.push_back(moe_case(what, dtype, s, residual));
  };
  for (const DType dtype :
       {DType::F32, DType::BF16, DType::F16, DType::Q8_0, DType::Q4_0, DType::Q4_1}) {
    add("plain", dtype, {3, 2, 5, 32, 64}, true);
    add("one_token", dtype, {1, 4, 16, 64, 64}, false);
    add("many_tokens", dtype, {70, 4, 8, 32, 96}, true);
    add("all_experts", dtype, {2, 4, 4, 96, 32}, true);
    // Beyond 64 KiB: several segments where bindings are that small.
    add("large", dtype, {5, 2, 12, 96, 128}, true);
    add("large_one_token", dtype, {1, 2, 12, 96, 128}, true);
    add("no_tokens", dtype, {0, 2, 5, 32, 64}, false);
    if (!is_quantized(dtype)) {
      add("odd", dtype, {4, 3, 7, 33, 17}, true);
      add("odd_one_token", dtype, {1, 3, 7, 33, 17}, false);
    }
  }
  add_moe_tiles(table);
}

void add_moe_block(Table& table) {
  const auto add = [&](const std::string& what, DType dtype, const MoeShape& s, bool normalize,
                       bool ties = false) {
    Case out;
    out.name = fmt::format("moe_block/{}/{}", dtype_name(dtype), what);
    out.op = "moe_block";
    out.dtype = dtype;
    out.basic = what == "plain";
    out.inputs = [=] {
      return Hosts{normal({s.tokens, s.hidden}, 1),
                   normal({s.hidden}, 6, s.k % 2 == 0 ? DType::BF16 : DType::F32),
                   ties ? filled({s.experts, s.hidden}, 0.25, dtype)
                        : expert_weight({s.experts, s.hidden}, 7, dtype),
                   expert_weight({s.experts, s.inner, s.hidden}, 2, dtype),
                   expert_weight({s.experts, s.inner, s.hidden}, 3, dtype),
                   expert_weight({s.experts, s.hidden, s.inner}, 4, dtype)};
    };
    out.run = [=](const Tensors& in, const Device&) {
      return Tensors{moe_block(in[0], in[1], in[2], in[3], in[4], in[5], {kEps, s.k, normalize})};
    };
    out.reference = [=](const Hosts& in) {
      Host x = in[0];
      x.values = ref_rms_norm(in[0], in[1], static_cast<double>(kEps));
      Host logits = numbers({s.tokens, s.experts}, ref_linear(x, in[2], nullptr, nullptr));
      const std::vector<Numbers> route = ref_moe_route(logits, s.k, normalize);
      return std::vector<Numbers>{ref_moe(x, numbers({s.tokens, s.k}, route[0], DType::U32),
                                          numbers({s.tokens, s.k}, route[1]), in[3], in[4], in[5],
                                          &in[0])};
    };
    table.push_back(out);
  };
  for (const DType dtype : {DType::F32, DType::BF16, DType::F16, DType::Q8_0}) {
    add("plain", dtype, {1, 2, 5, 32, 64}, true);
    add("raw_weights", dtype, {1, 8, 17, 64, 96}, false);
    add("three_tokens", dtype, {3, 4, 8, 32, 64}, true);
    add("all_experts", dtype, {1, 4, 4, 96, 32}, true);
    // Beyond 64 KiB: several segments where bindings are that small.
    add("large", dtype, {1, 2, 12, 96, 128}, true);
    if (!is_quantized(dtype)) {
      add("odd_inner", dtype, {1, 3, 7, 33, 40}, true);
      add("odd", dtype, {1, 3, 7, 33, 17}, true);
    }
  }
  // All experts alike to the router: the first ones are chosen.
  add("ties", DType::BF16, {1, 5, 40, 24, 32}, true, true);
  add("few_tokens", DType::BF16, {21, 3, 70, 24, 776}, true);
  add("few_odd", DType::BF16, {6, 3, 7, 33, 17}, true);
  add("prompt", DType::BF16, {100, 3, 70, 24, 72}, true);
  add("prompt_raw_weights", DType::BF16, {130, 4, 64, 72, 136}, false);
  // Large enough for sizes in a kernel's text.
  add("wide", DType::BF16, {1, 4, 16, 256, 512}, true);
  add("many_experts", DType::BF16, {1, 7, 256, 8, 16}, true);
  add("too_many_experts", DType::BF16, {1, 7, 300, 8, 16}, false);
}

}  // namespace

void add_fused(Table& table) {
  add_norms(table);
  add_rope(table);
  add_activations(table);
  add_route(table);
  add_moe(table);
  add_moe_block(table);
}

}  // namespace candela::parity
