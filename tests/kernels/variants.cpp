#include "variants.h"

#include "backend/wgpu/matrix.h"
#include "backend/wgpu/moe.h"

namespace candela::wgpu {
namespace {

/// With and without one define.
std::vector<Variant> flag(const std::string& define) {
  return {{{}}, {{define}}};
}

/// One text for a substitution after the other.
std::vector<Variant> texts(const std::string& name, const std::vector<std::string>& values) {
  std::vector<Variant> variants;
  for (const std::string& value : values) {
    variants.push_back({{}, {{name, value}}});
  }
  return variants;
}

Variant weight(const std::string& dtype, bool vec4) {
  Variant variant{{"W_" + dtype},
                  {{"W_TYPE", vec4 ? "vec4<u32>" : "u32"}, {"W_READ", vec4 ? "w_quad" : "w_word"}}};
  if (dtype[0] == 'Q') {
    variant.defines.emplace_back("W_BLOCKS");
  }
  if (vec4) {
    variant.defines.emplace_back("W_VEC4");
  }
  return variant;
}

/// Weights: plain dtypes by words or by 16 bytes, blocks by words.
std::vector<Variant> weights() {
  return {weight("F32", false),  weight("F32", true),   weight("F16", false),
          weight("F16", true),   weight("BF16", false), weight("BF16", true),
          weight("Q8_0", false), weight("Q4_0", false), weight("Q4_1", false)};
}

/// Weights and x of kernels that read F16 and BF16 by four where they can.
std::vector<Variant> weights_by_four() {
  std::vector<Variant> variants;
  for (const char* dtype : {"F16", "BF16"}) {
    variants.push_back({{std::string("W_") + dtype, "W_PAIR", "X_VEC4"},
                        {{"W_TYPE", "vec2<u32>"}, {"W_READ", "w_pair"}, {"X_TYPE", "vec4<f32>"}}});
  }
  for (Variant variant : weights()) {
    variant.substitutions.emplace_back("X_TYPE", "f32");
    variants.push_back(variant);
  }
  return variants;
}

/// Q8_16 whose newest pages are F16.
Variant recent() {
  Variant variant = weight("Q8_16", false);
  variant.defines.emplace_back("RECENT");
  return variant;
}

std::vector<Variant> caches() {
  return {weight("F32", false), weight("F32", true),    weight("BF16", false),
          weight("BF16", true), weight("Q8_16", false), recent()};
}

std::vector<Variant> x_types() {
  return {{{}, {{"X_TYPE", "f32"}}}, {{"X_VEC4"}, {{"X_TYPE", "vec4<f32>"}}}};
}

/// How elements.cpp lets y be stored, with the number of inputs.
std::vector<Variant> stores(int inputs) {
  std::vector<Variant> variants;
  for (const char* mode : {"Y_WORD", "Y_PAIR", "Y_ATOMIC"}) {
    variants.push_back(
        {{mode}, {{"Y", std::to_string(inputs)}, {"PARAMS", std::to_string(inputs + 1)}}});
  }
  return variants;
}

std::vector<Variant> values() {
  return {{{"REAL"}}, {{"INT_I32"}}, {{"INT_U32"}}};
}

/// Expressions of elementwise.def: every unary and the binaries, each where it is allowed.
std::vector<Variant> expressions() {
  std::vector<Variant> variants;
  const std::vector<Variant> word = {stores(1)[0], stores(2)[0]};
  const auto add = [&](std::vector<std::string> defines, bool binary, const std::string& text) {
    Variant variant = word[binary ? 1 : 0];
    variant.defines.insert(variant.defines.end(), defines.begin(), defines.end());
    variant.substitutions.emplace_back("EXPRESSION", text);
    variants.push_back(variant);
  };
#define CANDELA_UNARY(name, cpu, wgsl) add({"REAL"}, false, wgsl);
#define CANDELA_BINARY(name, cpu, wgsl) add({"REAL", "BINARY"}, true, wgsl);
#include "backend/elementwise.def"
#undef CANDELA_UNARY
#undef CANDELA_BINARY
  for (const char* text : {"x + y", "x - y", "x * y", "max(x, y)", "min(x, y)"}) {
    add({"INT_I32", "BINARY"}, true, text);
    add({"INT_U32", "BINARY"}, true, text);
  }
  for (Variant half : stores(1)) {
    half.defines.emplace_back("REAL");
    half.substitutions.emplace_back("EXPRESSION", "x");
    variants.push_back(half);
  }
  return variants;
}

std::map<std::string, Axes> elementwise_kernels() {
  return {
      {"fill", {stores(0)}},
      {"copy", {stores(1)}},
      {"elementwise", {expressions()}},
      {"compare",
       {{stores(2)[0]}, values(), texts("OPERATOR", {"==", "!=", "<", "<=", ">", ">="})}},
      {"where", {stores(3)}},
      {"gather", {stores(2)}},
      {"snake_beta", {stores(3)}},
      {"subgroup_size", {{{{"SUBGROUPS"}}}}},
      {"random", {flag("NORMAL"), flag("HALF"), flag("ODD")}},
      {"write_rows", {flag("HALF")}},
      {"gather_rows",
       {{weight("F32", false),
         weight("F16", false),
         weight("BF16", false),
         weight("Q8_0", false),
         weight("Q4_0", false),
         weight("Q4_1", false),
         {{"W_F32", "SAME"}},
         {{"W_F16", "SAME_HALF"}},
         {{"W_BF16", "SAME_HALF"}}}}},
      {"scatter_add", {}},
      {"cumsum", {}},
      {"reduce_rows", {{{{}}, {{"SUM"}}, {{"LEAST"}}}, flag("NARROW")}},
      {"argmax", {{{{}}, {{"LEAST"}}, {{"PAIRS_OUT"}}, {{"LEAST", "PAIRS_OUT"}}, {{"PAIRS_IN"}}}}},
      {"topk", {flag("PAIRS_IN"), flag("PAIRS_OUT")}},
  };
}

/// Bias, residual and norm of linear, with the numbers of their bindings.
std::vector<Variant> linear_extras() {
  return {{{}, {{"PARAMS", "3"}}},
          {{"HAS_BIAS", "HAS_RESIDUAL"}, {{"RESIDUAL", "4"}, {"PARAMS", "5"}}},
          {{"HAS_NORM", "NORM_BF16"}, {{"NORM", "3"}, {"PARAMS", "4"}}},
          {{"HAS_BIAS", "HAS_NORM"}, {{"NORM", "4"}, {"PARAMS", "5"}}}};
}

/// Tiles of linear_matrix.cpp, with one and two terms.
std::vector<Variant> matrix_tiles() {
  std::vector<Variant> variants;
  const auto add = [&](const MatrixTile& tile, uint32_t terms) {
    const KernelId kernel = unrolled(linear_matrix_kernel(tile, terms, terms == 1 ? 8 : 1));
    variants.push_back({kernel.defines, kernel.substitutions});
  };
  add({128, 192, 64, 48}, 1);
  add({128, 128, 64, 32}, 1);
  add({64, 64, 32, 32}, 1);
  add({64, 128, 32, 32}, 2);
  add({16, 64, 16, 16}, 2);
  return variants;
}

/// Optional bindings from number `first` on.
std::vector<Variant> extras(int first) {
  const auto at = [first](int i) { return std::to_string(first + i); };
  return {{{}, {{"PARAMS", at(0)}}},
          {{"HAS_BIAS", "HAS_RESIDUAL"}, {{"BIAS", at(0)}, {"RESIDUAL", at(1)}, {"PARAMS", at(2)}}},
          {{"HAS_RESIDUAL"}, {{"RESIDUAL", at(0)}, {"PARAMS", at(1)}}}};
}

/// linear_matrix has a binding more for an x with exponents, and one for BF16.
std::vector<Variant> matrix_weights() {
  std::vector<Variant> variants;
  for (const bool scaled : {false, true}) {
    for (const bool bf16 : {false, true}) {
      const int w_exponents = scaled ? 4 : 3;
      for (Variant variant : extras(w_exponents + (bf16 ? 1 : 0))) {
        variant.defines.emplace_back(bf16 ? "W_BF16" : "W_F16");
        if (scaled) {
          variant.defines.emplace_back("X_SCALED");
          variant.substitutions.emplace_back("X_EXPONENTS", "3");
        }
        variant.substitutions.emplace_back("W_EXPONENTS", std::to_string(w_exponents));
        variants.push_back(variant);
      }
    }
  }
  return variants;
}

std::map<std::string, Axes> matrix_kernels() {
  const std::vector<Variant> few{{{},
                                  {{"ROWS", "1"},
                                   {"TEAM", "32"},
                                   {"ROUND", "8"},
                                   {"COLS", "2048u"},
                                   {"ROW_COUNT", "4096u"},
                                   {"W_START", "0u"},
                                   {"W_STRIDE", "2048u"}}},
                                 {{"COMBINE"},
                                  {{"ROWS", "4"},
                                   {"TEAM", "256"},
                                   {"ROUND", "1"},
                                   {"COLS", "params.cols"},
                                   {"ROW_COUNT", "params.row_count"},
                                   {"W_START", "params.w_start"},
                                   {"W_STRIDE", "params.w_stride"}}}};
  return {
      {"matmul", {}},
      {"linear_gemv", {weights(), flag("X_VEC4"), few, flag("SUBGROUPS"), linear_extras()}},
      {"linear_tile", {weights(), flag("X_VEC4"), linear_extras()}},
      {"linear_matrix",
       {matrix_tiles(), matrix_weights(), {{{}}, {{"TAIL", "SPLIT", "SLICED"}}}, flag("Y_VEC4")}},
      {"matrix_terms",
       {flag("TWO_TERMS"), flag("WITH_NORM"), flag("X_VEC4"), flag("WHOLE"), {{{"SUBGROUPS"}}}}},
      {"matrix_exponents", {}},
      {"matrix_merge", {extras(2)}},
      {"conv", {flag("BIAS"), texts("W_KIND", {"0", "1", "2"})}},
      {"conv_transpose1d", {flag("BIAS"), texts("W_KIND", {"0", "1", "2"})}},
      {"swiglu", {}},
      {"softmax", {}},
      {"rms_norm", {}},
      {"layer_norm", {}},
      {"rope", {flag("WITH_NORM"), flag("SUBGROUPS")}},
  };
}

std::vector<Variant> moe_matrix_variants() {
  std::vector<Variant> variants;
  for (const MatrixTile& tile : {kMoeFastTile, kMoeExactTile}) {
    for (const bool gate_up : {false, true}) {
      for (const uint32_t cols : {72u, 2048u}) {
        const KernelId kernel = unrolled(
            moe_matrix_kernel(tile, tile.cols == kMoeFastTile.cols ? 1 : 2, gate_up, cols));
        variants.push_back({kernel.defines, kernel.substitutions});
      }
    }
  }
  return variants;
}

std::map<std::string, Axes> attention_and_moe_kernels() {
  return {
      {"attention_decode",
       {caches(), texts("HEADS", {"1", "8"}), flag("V_EVEN"), flag("SPLIT"), {x_types()[0]}}},
      {"attention_prefill", {caches(), texts("SLICES", {"2", "4", "8"}), {x_types()[0]}}},
      {"attention_step",
       {{weight("F32", true), weight("BF16", true), weight("Q8_16", false), recent()},
        texts("HEADS", {"1", "8"}),
        texts("LANES", {"8"}),
        texts("AHEAD", {"1"}),
        flag("WITH_NORM"),
        flag("SPLIT"),
        {{{"SUBGROUPS"}}}}},
      {"attention_step_matrix",
       {{weight("BF16", true)},
        texts("HEADS", {"8"}),
        flag("WITH_NORM"),
        {{{"SUBGROUPS", "SUBGROUP_MATRIX"}}}}},
      {"attention_matrix",
       {caches(), flag("WIDE"), {{{"SUBGROUPS", "SUBGROUP_MATRIX"}}}, {x_types()[0]}}},
      {"attention_merge", {}},
      {"attention_output",
       {{weight("F32", true), weight("F16", true), weight("BF16", true)},
        texts("SPLITS", {"1", "4"}),
        texts("ROWS", {"2", "4"}),
        {{{"SUBGROUPS"},
          {{"ROUND", "2"},
           {"COLS", "4096u"},
           {"ROW_COUNT", "2048u"},
           {"W_START", "0u"},
           {"W_STRIDE", "4096u"}}}}}},
      {"kv_write",
       {{{{"KV_F32"}},
         {{"KV_BF16", "KV_PAIRS"}},
         {{"KV_BF16", "KV_ATOMIC"}},
         {{"KV_F16", "KV_PAIRS"}},
         {{"KV_F16", "KV_ATOMIC"}},
         {{"KV_Q8_16"}}}}},
      {"sample", {}},
      {"penalise", {}},
      {"moe_route",
       {flag("NORMALIZE"),
        {{}, {{"SUBGROUPS"}, {{"EXPERTS", "params.count"}, {"K", "params.k"}}}}}},
      {"moe_group", {texts("AHEAD", {"4", "16"})}},
      {"moe_few",
       {weights_by_four(),
        flag("GATE_UP"),
        flag("SUBGROUPS"),
        {{{}, {{"ROUND", "1"}, {"TIMES", "1"}}}, {{}, {{"ROUND", "3"}, {"TIMES", "4"}}}}}},
      {"moe_router",
       {weights(),
        flag("NORM_BF16"),
        {{{"SUBGROUPS", "X_VEC4"},
          {{"X_TYPE", "vec4<f32>"}, {"HIDDEN", "2048"}, {"ROUND", "4"}}}}}},
      {"moe_gate_up", {weights(), x_types(), flag("SUBGROUPS")}},
      {"moe_down",
       {weights(), x_types(), flag("SUBGROUPS"), {{{}}, {{"PARTIAL"}}, {{"HAS_RESIDUAL"}}}}},
      {"moe_one_gate_up",
       {weights(),
        flag("SUBGROUPS"),
        {{{"X_VEC4", "NORM_BF16", "NORMALIZE"},
          {{"TEAM", "32"},
           {"SUMS", "256"},
           {"X_TYPE", "vec4<f32>"},
           {"ROUND", "2"},
           {"EXPERTS", "128u"},
           {"K", "8u"},
           {"HIDDEN", "2048u"},
           {"INNER", "768u"},
           {"GATE_START", "0u"},
           {"UP_START", "0u"},
           {"W_STRIDE", "2048u"}}},
         {{"X_VEC4", "COMBINE"},
          {{"TEAM", "64"},
           {"SUMS", "256"},
           {"X_TYPE", "vec4<f32>"},
           {"ROUND", "1"},
           {"EXPERTS", "params.experts"},
           {"K", "params.k"},
           {"HIDDEN", "params.hidden"},
           {"INNER", "params.inner"},
           {"GATE_START", "params.gate_start"},
           {"UP_START", "params.up_start"},
           {"W_STRIDE", "params.w_stride"}}}}}},
      {"moe_one_down",
       {weights(),
        x_types(),
        flag("SUBGROUPS"),
        {{{},
          {{"TEAM", "32"},
           {"ROWS", "4"},
           {"ROUND", "3"},
           {"K", "params.k"},
           {"HIDDEN", "params.hidden"},
           {"INNER", "params.inner"},
           {"W_START", "params.w_start"},
           {"W_STRIDE", "params.w_stride"}}}}}},
      {"moe_tile",
       {weights(), x_types(), {{{"GATE_UP"}, {{"PIECES", "320"}}}, {{}, {{"PIECES", "192"}}}}}},
      {"moe_matrix", {moe_matrix_variants()}},
      {"moe_combine", {flag("HAS_RESIDUAL"), texts("VALUE", {"f32", "vec4<f32>"})}},
  };
}

}  // namespace

const std::map<std::string, Axes>& kernel_variants() {
  static const std::map<std::string, Axes> all = [] {
    std::map<std::string, Axes> joined = elementwise_kernels();
    joined.merge(matrix_kernels());
    joined.merge(attention_and_moe_kernels());
    return joined;
  }();
  return all;
}

std::vector<Variant> all_variants(const Axes& axes) {
  std::vector<Variant> variants = {{}};
  for (const std::vector<Variant>& axis : axes) {
    std::vector<Variant> next;
    for (const Variant& base : variants) {
      for (const Variant& choice : axis) {
        Variant both = base;
        both.defines.insert(both.defines.end(), choice.defines.begin(), choice.defines.end());
        both.substitutions.insert(both.substitutions.end(), choice.substitutions.begin(),
                                  choice.substitutions.end());
        next.push_back(std::move(both));
      }
    }
    variants = std::move(next);
  }
  return variants;
}

}  // namespace candela::wgpu
