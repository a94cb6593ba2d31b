#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/command.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "engine/find_model.h"
#include "models/qwen3_omni/inventory.h"

namespace candela::cli {

namespace {

using nlohmann::ordered_json;

struct InfoFlags {
  std::string model, config, kv_type = "bf16";
  int64_t context = 4096, parallel = 1;
  bool json = false, tensors = false;
};

/// Parameters and bytes of one part of the model.
struct PartSize {
  std::string name;
  int64_t tensors = 0, parameters = 0;
  uint64_t bytes = 0;
};

/// Parts of an Omni checkpoint by its config: BF16, as published.
std::vector<PartSize> omni_sizes(const models::ModelFiles& files) {
  std::vector<PartSize> sizes;
  for (const models::Part& part : models::omni_parts(files)) {
    const int64_t parameters = part.parameters();
    sizes.push_back({part.name, static_cast<int64_t>(part.tensors.size()), parameters,
                     static_cast<uint64_t>(parameters) * 2});
  }
  return sizes;
}

/// One part: what the files hold, or what the config implies.
std::vector<PartSize> plain_sizes(const models::ModelFiles& files,
                                  const models::TextConfig& config) {
  if (!files.weights) {
    return {
        {"text decoder", 0, config.parameters(), static_cast<uint64_t>(config.parameters()) * 2}};
  }
  PartSize size{"text decoder", 0, 0, 0};
  for (const WeightInfo& tensor : files.weights->tensors()) {
    ++size.tensors;
    size.parameters += tensor.shape.elements();
    size.bytes += tensor.bytes.size();
  }
  return {size};
}

std::string thousands(int64_t number) {
  std::string text = std::to_string(number);
  for (int at = static_cast<int>(text.size()) - 3; at > 0; at -= 3) {
    text.insert(static_cast<size_t>(at), ",");
  }
  return text;
}

ordered_json describe(const InfoFlags& flags, const models::ModelFiles& files) {
  const models::TextConfig config = models::find_architecture(files).text_config(files);
  const bool omni = files.config.contains("thinker_config");
  const std::vector<PartSize> sizes = omni ? omni_sizes(files) : plain_sizes(files, config);
  ordered_json out{
      {"schema_version", 1}, {"path", files.path}, {"architecture", files.architecture}};
  PartSize total{"total", 0, 0, 0};
  out["parts"] = ordered_json::array();
  for (const PartSize& size : sizes) {
    out["parts"].push_back({{"name", size.name},
                            {"tensors", size.tensors},
                            {"parameters", size.parameters},
                            {"bytes", size.bytes}});
    total.tensors += size.tensors;
    total.parameters += size.parameters;
    total.bytes += size.bytes;
  }
  out["tensors"] = total.tensors;
  out["parameters"] = total.parameters;
  out["bytes"] = total.bytes;
  out["parameters_per_token"] = config.active_parameters();
  out["text"] = {{"layers", config.layers},
                 {"hidden_size", config.hidden_size},
                 {"heads", config.heads},
                 {"kv_heads", config.kv_heads},
                 {"head_dim", config.head_dim},
                 {"vocab_size", config.vocab_size},
                 {"experts", config.experts},
                 {"experts_per_token", config.experts_per_token},
                 {"max_positions", config.max_positions}};
  ModelFlags model;
  model.kv_type = flags.kv_type;
  const uint64_t loaded = files.weights ? models::loaded_bytes(files) : sizes.front().bytes;
  const engine::MemoryPlan plan =
      engine::plan_memory(config, loaded, flags.context * flags.parallel, model.kv_dtype(), 512);
  out["memory"] = ordered_json::object();
  for (const engine::PlanLine& line : plan.lines) {
    out["memory"][line.what] = line.bytes;
  }
  out["memory"]["total"] = plan.total();
  return out;
}

void print(const InfoFlags& flags, const ordered_json& info) {
  const auto bytes = [](const ordered_json& value) {
    return engine::format_bytes(value.get<uint64_t>());
  };
  std::string text = fmt::format("{}\n{}\n", info["path"].get<std::string>(),
                                 info["architecture"].get<std::string>());
  const auto line = [&](const std::string& name, const ordered_json& of) {
    text += fmt::format("  {:16} {:>7} tensors {:>15} parameters {:>10}\n", name,
                        thousands(of["tensors"]), thousands(of["parameters"]), bytes(of["bytes"]));
  };
  for (const ordered_json& part : info["parts"]) {
    line(part["name"], part);
  }
  line("total", info);
  text += fmt::format("  {} parameters are read for a token\n",
                      thousands(info["parameters_per_token"]));
  text += fmt::format(
      "memory for a text answer, {} x {} positions: weights {} + cache {} + work {} = {}\n",
      flags.parallel, flags.context, bytes(info["memory"]["weights"]),
      bytes(info["memory"]["cache"]), bytes(info["memory"]["work"]),
      bytes(info["memory"]["total"]));
  write_out(text);
}

void print_tensors(const models::ModelFiles& files) {
  for (const WeightInfo& tensor : files.weights->tensors()) {
    write_out(fmt::format("{:5} {:22} {}\n", dtype_name(tensor.dtype), to_string(tensor.shape),
                          printable(tensor.name)));
  }
}

int info(const InfoFlags& flags) {
  if (flags.model.empty() == flags.config.empty()) {
    fail(ErrorKind::InvalidArgument, Subject::Usage, "Give either MODEL or --config FILE.");
  }
  const models::ModelFiles files = flags.config.empty()
                                       ? models::open_model(engine::find_model(flags.model))
                                       : models::open_config(flags.config);
  const ordered_json description = describe(flags, files);
  if (flags.json) {
    write_out(description.dump(2) + "\n");
  } else {
    print(flags, description);
  }
  if (flags.tensors && files.weights) {
    print_tensors(files);
  }
  return 0;
}

}  // namespace

std::function<int()> setup_info(CLI::App& app) {
  auto flags = std::make_shared<InfoFlags>();
  declare_model(app, flags->model);
  app.add_option("--config", flags->config, "a config.json alone, without weights")
      ->type_name("FILE");
  app.add_option("-c,--ctx-size", flags->context, "positions a sequence")
      ->type_name("N")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 31).description(""))
      ->capture_default_str();
  app.add_option("--parallel", flags->parallel, "sequences at once")
      ->type_name("N")
      ->check(CLI::Range(1, 65536).description(""))
      ->capture_default_str();
  app.add_option("--kv-type", flags->kv_type, "f32, bf16 or q8")
      ->type_name("TYPE")
      ->capture_default_str();
  app.add_flag("--tensors", flags->tensors, "list every tensor");
  app.add_flag("--json", flags->json, "one JSON object");
  return [flags] { return info(*flags); };
}

}  // namespace candela::cli
