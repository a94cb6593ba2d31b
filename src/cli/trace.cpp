#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/command.h"
#include "cli/input_json.h"
#include "cli/session.h"
#include "cli/terminal.h"
#include "cli/trace_ops.h"
#include "cli/trace_slice.h"
#include "engine/find_model.h"
#include "weights/writer.h"

namespace candela::cli {

namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

struct TraceFlags {
  std::string model, index, ops, case_prefix, out;
  ModelFlags settings;
  DeviceFlags device;
  bool quiet = false;
};

/// The arrays of one case that the index lists, sliced as it says.
class CaseWriter {
 public:
  CaseWriter(const ordered_json& entry, SafetensorsWriter& writer)
      : id_(entry.at("id").get<std::string>()), writer_(writer) {
    for (const ordered_json& array : entry.at("arrays")) {
      const auto& slice = array.contains("slice") ? array.at("slice") : ordered_json(nullptr);
      slices_[array.at("name").get<std::string>()] =
          slice.is_string() ? slice.get<std::string>() : "";
    }
  }

  bool wants(const std::string& name) const { return slices_.contains(name); }
  void add(const std::string& name, const HostArray& array) {
    if (const auto found = slices_.find(name); found != slices_.end()) {
      writer_.add(id_ + "/" + name,
                  found->second.empty() ? array : slice_array(array, found->second));
    }
  }

 private:
  std::string id_;
  SafetensorsWriter& writer_;
  std::map<std::string, std::string> slices_;
};

/// Prompts of a case, as ids; empty if it needs parts that are not text.
std::vector<std::vector<uint32_t>> prompts_of(const ordered_json& entry,
                                              const engine::Engine& engine) {
  const auto ids_of = [&](const ordered_json& spec) {
    ChatInput input;
    if (spec.contains("system") && spec.at("system").is_string()) {
      input.messages.push_back({{"role", "system"}, {"content", spec.at("system")}});
    }
    ordered_json content = ordered_json::array();
    for (const ordered_json& part : spec.at("parts")) {
      content.push_back({{"type", "text"}, {"text", part.at("text")}});
    }
    input.messages.push_back({{"role", "user"}, {"content", content}});
    return engine.encode(input, ParseSpecial::Yes).ids;
  };
  if (entry.contains("spec")) {
    const ordered_json& spec = entry.at("spec");
    const ordered_json& parts = spec.value("parts", ordered_json::array());
    const bool text_only = std::ranges::all_of(
        parts, [](const ordered_json& part) { return part.size() == 1 && part.contains("text"); });
    if (!text_only || spec.contains("history") || (parts.empty() && !spec.contains("prompts"))) {
      return {};
    }
    if (!parts.empty()) {
      return {ids_of(spec)};
    }
    std::vector<std::vector<uint32_t>> prompts;
    for (const ordered_json& prompt : spec.at("prompts")) {
      ordered_json one{{"parts", {{{"text", prompt.at("user")}}}}};
      one["system"] = prompt.value("system", ordered_json(nullptr));
      prompts.push_back(ids_of(one));
    }
    return prompts;
  }
  if (entry.contains("input_ids")) {
    return {entry.at("input_ids").get<std::vector<uint32_t>>()};
  }
  std::vector<std::vector<uint32_t>> prompts;
  for (const ordered_json& text : entry.value("prompts", ordered_json::array())) {
    prompts.push_back(engine.tokenizer().encode(text.get<std::string>(), ParseSpecial::Yes));
  }
  return prompts;
}

int64_t new_tokens_of(const ordered_json& entry) {
  if (entry.contains("spec") && entry.at("spec").contains("n")) {
    return entry.at("spec").at("n").get<int64_t>();
  }
  return entry.at("generate").at("max_new_tokens").get<int64_t>();
}

/// Whether the case's answer ends at the end-of-turn token.
bool stops_at_eos(const ordered_json& entry) {
  if (entry.contains("spec")) {
    return entry.at("spec").value("eos", false);
  }
  const ordered_json& generate = entry.at("generate");
  return generate.contains("eos_token_id") && !generate.at("eos_token_id").is_null();
}

/// greedy_tokens, greedy_logits, greedy_margin: of one sequence without, of several with a batch
/// axis.
void add_answers(CaseWriter& writer,
                 const engine::Generation& generation,
                 bool batched,
                 int64_t vocab) {
  std::vector<int64_t> tokens;
  std::vector<float> logits, margins;
  for (size_t i = 0; i < generation.answers.size(); ++i) {
    const auto& ids = generation.answers[i].ids;
    tokens.insert(tokens.end(), ids.begin(), ids.end());
    for (const std::vector<float>& row : generation.step_logits[i]) {
      std::vector<float> best(row);
      std::nth_element(best.begin(), best.begin() + 1, best.end(), std::greater<>());
      margins.push_back(std::max(best[0], best[1]) - std::min(best[0], best[1]));
      logits.insert(logits.end(), row.begin(), row.end());
    }
  }
  const auto batch = static_cast<int64_t>(generation.answers.size());
  const int64_t steps = static_cast<int64_t>(tokens.size()) / batch;
  const Shape flat = batched ? Shape{batch, steps} : Shape{steps};
  writer.add("greedy_tokens", integer_array(tokens, flat));
  writer.add("greedy_margin", float_array(margins, flat));
  writer.add("greedy_logits",
             float_array(logits, batched ? Shape{batch, steps, vocab} : Shape{steps, vocab}));
}

/// The padded inputs that the reference sees; candela itself never pads.
void add_padded(CaseWriter& writer,
                const std::vector<std::vector<uint32_t>>& prompts,
                int64_t pad_id,
                const engine::Generation& generation,
                int64_t vocab) {
  size_t longest = 0;
  for (const auto& prompt : prompts) {
    longest = std::max(longest, prompt.size());
  }
  std::vector<int64_t> ids, mask;
  std::vector<float> positions, last;
  for (const auto& prompt : prompts) {
    const size_t pad = longest - prompt.size();
    ids.insert(ids.end(), pad, pad_id);
    ids.insert(ids.end(), prompt.begin(), prompt.end());
    mask.insert(mask.end(), pad, 0);
    mask.insert(mask.end(), prompt.size(), 1);
    positions.insert(positions.end(), pad, 1.0f);
    for (size_t i = 0; i < prompt.size(); ++i) {
      positions.push_back(static_cast<float>(i));
    }
  }
  for (const auto& steps : generation.step_logits) {
    last.insert(last.end(), steps.front().begin(), steps.front().end());
  }
  const auto batch = static_cast<int64_t>(prompts.size());
  const auto length = static_cast<int64_t>(longest);
  writer.add("input_ids", integer_array(ids, {batch, length}));
  writer.add("attention_mask", integer_array(mask, {batch, length}));
  writer.add("last_logits", float_array(last, {batch, vocab}));
  std::vector<float> axes;
  for (int axis = 0; axis < 3; ++axis) {
    axes.insert(axes.end(), positions.begin(), positions.end());
  }
  writer.add("position_ids", float_array(axes, {3, batch, length}));
}

void run_case(const ordered_json& entry, engine::Engine& engine, SafetensorsWriter& out) {
  const auto prompts = prompts_of(entry, engine);
  const bool batched = prompts.size() > 1 || !entry.contains("input_ids");
  CaseWriter writer(entry, out);
  std::vector<engine::Request> requests;
  for (const std::vector<uint32_t>& prompt : prompts) {
    engine::Request request = engine.make_request(prompt);
    if (!stops_at_eos(entry)) {
      request.stop_ids.clear();
    }
    request.sampling = {};
    request.max_new_tokens = new_tokens_of(entry);
    requests.push_back(std::move(request));
  }
  engine::GenerateOptions options;
  options.all_logits = true;
  if (!batched) {
    options.trace.wants_name = [&](const std::string& name) { return writer.wants(name); };
    options.trace.record = [&](const std::string& name, const Tensor& value) {
      writer.add(name, to_host(value));
    };
  }
  const engine::Generation generation =
      engine::generate(engine.model().text, engine.cache(), requests, options, {});
  const int64_t vocab = engine.model().text.config().vocab_size;
  add_answers(writer, generation, batched, vocab);
  if (batched) {
    add_padded(writer, prompts, entry.value("pad_token_id", int64_t{0}), generation, vocab);
  }
}

bool selected(const TraceFlags& flags, const ordered_json& entry, const std::string& model_name) {
  return entry.at("id").get<std::string>().starts_with(flags.case_prefix) &&
         (!entry.contains("model") || entry.at("model") == model_name);
}

/// A damaged index is the input's fault, not the model's.
ordered_json read_index(const std::string& path) {
  ordered_json index = parse_input_json(read_text_file(path), path);
  if (!index.is_object() || !index.contains("cases") || !index["cases"].is_array()) {
    fail(ErrorKind::CorruptData, Subject::Input, "{} is no JSON object with a list of \"cases\".",
         path);
  }
  return index;
}

int trace_model(const TraceFlags& flags, const Device& device) {
  const ordered_json index = read_index(flags.index);
  ModelFlags settings = flags.settings;
  settings.model = flags.model;
  engine::Engine engine = load_engine(settings, device, flags.quiet);
  const std::string model_name = fs::weakly_canonical(flags.model).filename().string();
  int ran = 0;
  std::map<std::string, int> left_out;
  for (const ordered_json& entry : index.at("cases")) {
    if (!selected(flags, entry, model_name)) {
      continue;
    }
    throw_if_interrupted();
    const std::string id = entry.at("id");
    if (prompts_of(entry, engine).empty()) {
      ++left_out[entry.value("kind", "?")];
      continue;
    }
    SafetensorsWriter writer;
    with_context([&] { return "running case " + id; }, [&] { run_case(entry, engine, writer); });
    writer.save((fs::path(flags.out) / (id + ".safetensors")).string());
    ++ran;
  }
  for (const auto& [kind, count] : left_out) {
    note(
        fmt::format("not run: {} cases of kind {}, which needs parts that candela does not run yet",
                    count, kind));
  }
  return ran;
}

int trace(const TraceFlags& flags) {
  if (flags.index.empty() == flags.ops.empty() || flags.index.empty() != flags.model.empty()) {
    fail(ErrorKind::InvalidArgument, Subject::Usage,
         "Give MODEL with --index INDEX.json, or --ops OPS.json.");
  }
  std::error_code error;
  fs::create_directories(flags.out, error);
  if (!fs::is_directory(flags.out, error)) {
    fail(ErrorKind::Io, Subject::Input, "The folder {} cannot be made.", flags.out);
  }
  const std::string& list = flags.ops.empty() ? flags.index : flags.ops;
  read_index(list);
  const Device device = flags.device.open(flags.quiet);
  int ran = 0;
  try {
    ran = flags.ops.empty() ? trace_model(flags, device)
                            : trace_ops(flags.ops, flags.case_prefix, device, flags.out);
  } catch (const nlohmann::json::exception& wrong) {
    fail(ErrorKind::CorruptData, Subject::Input, "{} has a case that cannot be read: {}.", list,
         wrong.what());
  }
  if (ran == 0) {
    fail(ErrorKind::Unsupported, Subject::Input, "No case was run: none of {} fits --case \"{}\".",
         list, flags.case_prefix);
  }
  if (!flags.quiet) {
    note(fmt::format("{} cases written to {}", ran, flags.out));
  }
  return 0;
}

}  // namespace

std::function<int()> setup_trace(CLI::App& app) {
  auto flags = std::make_shared<TraceFlags>();
  flags->settings.kv_type = "f32";  // the exact class, as the goldens are
  app.add_option("MODEL", flags->model, "the checkpoint whose cases are run");
  app.add_option("--index", flags->index, "an index.json with cases");
  app.add_option("--ops", flags->ops, "an OPS.json with single operations");
  app.add_option("--case", flags->case_prefix, "only cases whose name begins so");
  app.add_option("-o,--out", flags->out, "folder for the safetensors files")->required();
  app.add_option("--kv-type", flags->settings.kv_type, "f32, bf16 or q8")->capture_default_str();
  app.add_flag("-q,--quiet", flags->quiet, "nothing on stderr but errors");
  flags->device.precision = "exact";
  flags->device.declare(app);
  return [flags] { return trace(*flags); };
}

}  // namespace candela::cli
