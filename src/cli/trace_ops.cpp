#include "cli/trace_ops.h"

#include <fmt/format.h>

#include <cmath>
#include <filesystem>
#include <functional>
#include <map>

#include "base/bf16.h"
#include "base/error.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "cli/trace_slice.h"
#include "models/model_files.h"
#include "nn/sampler.h"
#include "tensor/ops.h"
#include "weights/writer.h"

namespace candela::cli {

namespace {

using nlohmann::ordered_json;

/// One case: its inputs by name on the device, its parameters, and where outputs go.
class OpCase {
 public:
  OpCase(const ordered_json& json,
         const Weights& files,
         const Weights& host,
         SafetensorsWriter& writer)
      : json_(json), files_(files), host_(host), writer_(writer) {}

  Tensor in(const char* name) const { return files_.get(key("in.", name)); }
  /// The input on the CPU, where every dtype can live.
  Tensor host(const char* name) const { return host_.get(key("in.", name)); }
  bool has(const char* name) const { return host_.contains(key("in.", name)); }
  std::optional<Tensor> maybe(const char* name) const {
    return has(name) ? std::optional<Tensor>(in(name)) : std::nullopt;
  }
  const Device& device() const { return files_.device(); }

  double number(const char* name) const { return json_.at("params").at(name).get<double>(); }
  int64_t integer(const char* name) const { return json_.at("params").at(name).get<int64_t>(); }
  bool flag(const char* name) const { return json_.at("params").value(name, false); }
  const ordered_json& param(const char* name) const { return json_.at("params").at(name); }

  void out(const char* name, const Tensor& value) const {
    const bool bf16 = dtype_of(name) == "bfloat16";
    writer_.add(key("out.", name), to_host(bf16 ? value.to_dtype(DType::BF16) : value));
  }
  void out(const char* name, HostArray value) const {
    writer_.add(key("out.", name), std::move(value));
  }

 private:
  std::string key(const char* side, const char* name) const {
    return json_.at("name").get<std::string>() + "/" + side + name;
  }
  std::string dtype_of(const char* name) const {
    for (const ordered_json& output : json_.at("outputs")) {
      if (output.at("name") == name) {
        return output.at("dtype");
      }
    }
    return "";
  }

  const ordered_json& json_;
  const Weights& files_;
  const Weights& host_;
  SafetensorsWriter& writer_;
};

/// cos and sin [tokens, half] for per-token positions on the axis that `axis_of(i)` names.
struct RopeTables {
  std::vector<float> cos, sin;
  int64_t tokens = 0, half = 0;
};

RopeTables rope_tables(const std::vector<float>& positions,
                       int64_t tokens,
                       int64_t head_dim,
                       double theta,
                       const std::function<int64_t(int64_t)>& axis_of) {
  RopeTables tables{{}, {}, tokens, head_dim / 2};
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t i = 0; i < head_dim / 2; ++i) {
      const auto frequency = static_cast<float>(
          1.0 / std::pow(theta, 2.0 * static_cast<double>(i) / static_cast<double>(head_dim)));
      const float angle = positions[static_cast<size_t>(axis_of(i) * tokens + t)] * frequency;
      tables.cos.push_back(static_cast<float>(std::cos(static_cast<double>(angle))));
      tables.sin.push_back(static_cast<float>(std::sin(static_cast<double>(angle))));
    }
  }
  return tables;
}

/// Rotates q and k [heads, tokens, dim] and writes everything.
void rotate(const OpCase& c, const RopeTables& tables) {
  const Shape shape{tables.tokens, tables.half};
  const Tensor cos = Tensor::from_vector(tables.cos, shape, c.device());
  const Tensor sin = Tensor::from_vector(tables.sin, shape, c.device());
  const Tensor rows =
      Tensor::arange(0, static_cast<double>(tables.tokens), 1, DType::U32, c.device());
  const auto doubled = [](const Tensor& half) {
    const Tensor both[] = {half, half};
    return cat(both, -1);
  };
  c.out("cos", doubled(cos));
  c.out("sin", doubled(sin));
  for (const char* name : {"q", "k"}) {
    c.out(name, rope(c.in(name).transpose(0, 1), cos, sin, rows).transpose(0, 1));
  }
}

void run_rope(const OpCase& c) {
  const Tensor positions = c.host("positions");
  rotate(c, rope_tables(positions.to_vec<float>(), positions.dim(0), c.integer("head_dim"),
                        c.number("theta"), [](int64_t) { return 0; }));
}

void run_mrope(const OpCase& c) {
  const Tensor positions = c.host("positions");
  const auto section = c.param("mrope_section").get<std::vector<int64_t>>();
  rotate(c, rope_tables(positions.to_vec<float>(), positions.dim(1), c.integer("head_dim"),
                        c.number("theta"), [&](int64_t i) {
                          const int64_t axis = i % 3;
                          return axis != 0 && i < 3 * section[static_cast<size_t>(axis)] ? axis : 0;
                        }));
}

/// Turns a mask [queries, keys] of visible keys into intervals; ours can express no other masks.
Tensor spans_of(const OpCase& c, int64_t queries, int64_t keys) {
  std::vector<uint32_t> spans;
  const std::vector<int32_t> mask =
      c.has("mask") ? c.host("mask").to_vec<int32_t>()
                    : std::vector<int32_t>(static_cast<size_t>(queries * keys), 1);
  for (int64_t q = 0; q < queries; ++q) {
    const auto row = mask.begin() + q * keys;
    const auto first = std::find_if(row, row + keys, [](int32_t seen) { return seen != 0; });
    const auto end = std::find(first, row + keys, 0);
    if (std::any_of(end, row + keys, [](int32_t seen) { return seen != 0; })) {
      fail(ErrorKind::Unsupported, Subject::Input,
           "Query {} sees keys that are no single interval, which candela's attention cannot do.",
           q);
    }
    spans.push_back(static_cast<uint32_t>(first - row));
    spans.push_back(static_cast<uint32_t>(end - row));
  }
  return Tensor::from_vector(spans, {queries, 2}, c.device());
}

void run_attention(const OpCase& c) {
  const Tensor q = c.in("q");
  const Tensor k = c.in("k");
  c.out("y", attention(q, k, c.in("v"), spans_of(c, q.dim(1), k.dim(1)),
                       static_cast<float>(c.number("scale"))));
}

void run_router(const OpCase& c) {
  const Tensor logits = linear(c.in("x"), c.in("weight"));
  const auto route = moe_route(logits, c.integer("top_k"), c.flag("norm_topk_prob"));
  c.out("logits", logits);
  c.out("weights", route.second);
  c.out("indices", route.first);
}

void run_moe(const OpCase& c) {
  const Tensor x = c.in("x");
  const auto route =
      moe_route(linear(x, c.in("router")), c.integer("top_k"), c.flag("norm_topk_prob"));
  c.out("y", moe(x, route, c.in("gate"), c.in("up"), c.in("down")));
}

void run_convnext(const OpCase& c) {
  const Tensor x = c.in("x");
  const int64_t kernel = c.integer("kernel");
  Conv1dOptions options;
  options.groups = x.dim(1);
  options.pad_left = kernel - 1;
  Tensor h = conv1d(x, c.in("dw_weight"), c.in("dw_bias"), options).transpose(1, 2);
  h = layer_norm(h, c.in("norm_weight"), c.in("norm_bias"), static_cast<float>(c.number("eps")));
  h = linear(gelu_erf(linear(h, c.in("pw1_weight"), c.in("pw1_bias"))), c.in("pw2_weight"),
             c.in("pw2_bias"));
  c.out("y", x + (h * c.in("gamma")).transpose(1, 2));
}

void run_conv1d(const OpCase& c) {
  Conv1dOptions options;
  options.stride = c.integer("stride");
  options.dilation = c.integer("dilation");
  options.groups = c.integer("groups");
  options.pad_left = (c.integer("kernel") - 1) * options.dilation;
  c.out("y", conv1d(c.in("x"), c.in("weight"), c.in("bias"), options));
}

void run_conv_transpose1d(const OpCase& c) {
  ConvTranspose1dOptions options;
  options.stride = c.integer("stride");
  options.trim_left = c.integer("trim_left");
  options.trim_right = c.integer("trim_right");
  c.out("y", conv_transpose1d(c.in("x"), c.in("weight"), c.in("bias"), options));
}

void run_conv2d(const OpCase& c) {
  Conv2dOptions options;
  options.stride_h = options.stride_w = c.integer("stride");
  options.pad_h = options.pad_w = c.integer("padding");
  c.out("y", conv2d(c.in("x"), c.in("weight"), c.in("bias"), options));
}

/// Bit patterns in and out: int32 in the file, only the lower half of a BF16 pattern is used.
void run_to_bf16(const OpCase& c) {
  std::vector<float> values;
  for (const int32_t bits : c.host("x_bits").to_vec<int32_t>()) {
    values.push_back(std::bit_cast<float>(bits));
  }
  const auto count = static_cast<int64_t>(values.size());
  const std::vector<std::byte> bytes =
      Tensor::from_vector(values, {count}, c.device()).to_dtype(DType::BF16).to_bytes();
  std::vector<int64_t> bits;
  for (size_t i = 0; i < bytes.size(); i += 2) {
    bits.push_back(std::to_integer<int64_t>(bytes[i]) |
                   (std::to_integer<int64_t>(bytes[i + 1]) << 8));
  }
  c.out("y_bits", integer_array(bits, {count}));
}

void run_from_bf16(const OpCase& c) {
  std::vector<BFloat16> values;
  for (const int32_t bits : c.host("x_bits").to_vec<int32_t>()) {
    values.push_back({static_cast<uint16_t>(bits)});
  }
  const auto count = static_cast<int64_t>(values.size());
  const Tensor wide = Tensor::from_vector(values, {count}, c.device()).to_dtype(DType::F32);
  std::vector<int64_t> bits;
  for (const float value : wide.to_vec<float>()) {
    bits.push_back(std::bit_cast<int32_t>(value));
  }
  c.out("y_bits", integer_array(bits, {count}));
}

/// Each row has a history of its own.
void run_penalty(const OpCase& c) {
  const Tensor logits = c.in("logits").copy();
  nn::SamplingOptions options;
  options.repetition_penalty = static_cast<float>(c.number("penalty"));
  const nn::Sampler sampler(options);
  std::vector<uint32_t> marks, newest;
  for (const std::vector<int64_t>& history : c.host("history").to_vec2<int64_t>()) {
    const std::vector<uint32_t> said(history.begin(), history.end() - 1);
    const std::vector<uint32_t> own = sampler.device_marks(logits.dim(1), said);
    marks.insert(marks.end(), own.begin(), own.end());
    newest.push_back(static_cast<uint32_t>(history.back()));
  }
  const Shape rows{logits.dim(0)};
  const std::vector<float> penalties(newest.size(), options.repetition_penalty);
  penalise_into(logits, Tensor::from_vector(newest, rows, c.device()),
                Tensor::from_vector(marks, logits.shape(), c.device()),
                Tensor::from_vector(penalties, rows, c.device()));
  c.out("y", logits);
}

/// What the host draws from.
void run_filter(const OpCase& c) {
  const Tensor logits = c.host("logits");
  const auto history = c.host("history").to_vec2<int64_t>();
  nn::SamplingOptions options;
  options.repetition_penalty = static_cast<float>(c.number("penalty"));
  options.temperature = static_cast<float>(c.number("temperature"));
  options.top_k = c.integer("top_k");
  options.top_p = static_cast<float>(c.number("top_p"));
  const auto range = c.param("suppress").get<std::vector<uint32_t>>();
  for (uint32_t id = range.at(0); id < range.at(1); ++id) {
    options.suppress.push_back(id);
  }
  const nn::Sampler sampler(options);
  const auto rows = logits.to_vec2<float>();
  std::vector<float> out;
  for (size_t row = 0; row < rows.size(); ++row) {
    const std::vector<uint32_t> ids(history[row].begin(), history[row].end());
    std::vector<float> dense(rows[row].size(), 0.0f);
    for (const nn::Candidate& candidate : sampler.filter(rows[row], ids)) {
      dense[candidate.id] = candidate.value;
    }
    out.insert(out.end(), dense.begin(), dense.end());
  }
  c.out("probs", float_array(out, logits.shape()));
}

float eps_of(const OpCase& c) {
  return static_cast<float>(c.number("eps"));
}

/// All operations that candela has, by the name that OPS.json uses.
const std::map<std::string, std::function<void(const OpCase&)>>& table() {
  static const std::map<std::string, std::function<void(const OpCase&)>> kTable = {
      {"rmsnorm",
       [](const OpCase& c) {
         c.out("y", rms_norm(c.in("x").to_dtype(DType::F32), c.in("weight"), eps_of(c)));
       }},
      {"layernorm",
       [](const OpCase& c) {
         c.out("y", layer_norm(c.in("x"), c.in("weight"), c.in("bias"), eps_of(c)));
       }},
      {"silu", [](const OpCase& c) { c.out("y", silu(c.in("x"))); }},
      {"gelu_erf", [](const OpCase& c) { c.out("y", gelu_erf(c.in("x"))); }},
      {"gelu_tanh", [](const OpCase& c) { c.out("y", gelu(c.in("x"))); }},
      {"sigmoid", [](const OpCase& c) { c.out("y", sigmoid(c.in("x"))); }},
      {"swiglu", [](const OpCase& c) { c.out("y", swiglu(c.in("gate"), c.in("up"))); }},
      {"softmax", [](const OpCase& c) { c.out("y", softmax(c.in("x"), -1)); }},
      {"linear",
       [](const OpCase& c) { c.out("y", linear(c.in("x"), c.in("weight"), c.maybe("bias"))); }},
      {"patch_embed",
       [](const OpCase& c) {
         c.out("y", linear(c.in("x"), c.in("weight").flatten(1, -1), c.in("bias")));
       }},
      {"f32_to_bf16", run_to_bf16},
      {"bf16_to_f32", run_from_bf16},
      {"rope", run_rope},
      {"mrope_interleaved", run_mrope},
      {"topk_router", run_router},
      {"moe", run_moe},
      {"attention", run_attention},
      {"conv1d_causal", run_conv1d},
      {"conv_transpose1d_trimmed", run_conv_transpose1d},
      {"conv2d", run_conv2d},
      {"convnext", run_convnext},
      {"snake_beta",
       [](const OpCase& c) { c.out("y", snake_beta(c.in("x"), c.in("alpha"), c.in("beta"))); }},
      {"repetition_penalty", run_penalty},
      {"sampling_filter", run_filter},
  };
  return kTable;
}

}  // namespace

int trace_ops(const std::string& ops_path,
              const std::string& case_prefix,
              const Device& device,
              const std::string& out) {
  const ordered_json index = models::read_json(ops_path);
  const auto data =
      std::filesystem::path(ops_path).parent_path() / index.at("file").get<std::string>();
  const auto source = open_weights(data.string());
  const Weights files(source, device);
  const Weights host(source, Device::cpu());
  SafetensorsWriter writer;
  int ran = 0;
  std::map<std::string, int> unknown;
  for (const ordered_json& one : index.at("cases")) {
    const std::string name = one.at("name");
    const auto found = table().find(one.at("op").get<std::string>());
    if (!name.starts_with(case_prefix)) {
      continue;
    }
    if (found == table().end()) {
      ++unknown[one.at("op").get<std::string>()];
      continue;
    }
    with_context([&] { return "running case " + name; },
                 [&] { found->second(OpCase(one, files, host, writer)); });
    ++ran;
  }
  for (const auto& [op, count] : unknown) {
    note(fmt::format("not run: {} cases of {}, which candela does not have yet", count, op));
  }
  if (ran > 0) {
    writer.save((std::filesystem::path(out) / "ops.safetensors").string());
  }
  return ran;
}

}  // namespace candela::cli
