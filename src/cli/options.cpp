#include "cli/options.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <sstream>

#include "base/error.h"
#include "cli/interrupt.h"
#include "cli/terminal.h"

namespace candela::cli {

namespace {

[[noreturn]] void wrong(const char* option, const std::string& value, const char* expected) {
  fail(ErrorKind::InvalidArgument, Subject::Usage, "{} is \"{}\"; {} is expected.", option, value,
       expected);
}

}  // namespace

CLI::Option* from_environment(CLI::Option* option) {
  std::string name = "CANDELA_" + option->get_lnames().back();
  std::ranges::replace(name, '-', '_');
  std::ranges::transform(name, name.begin(), [](char c) {
    return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  });
  return option->envname(name);
}

void DeviceFlags::declare(CLI::App& app) {
  from_environment(app.add_option("--device", device,
                                  "auto, cpu, wgpu or wgpu:INDEX as `candela devices` counts"))
      ->type_name("WHERE")
      ->capture_default_str();
  from_environment(
      app.add_option("--webgpu", webgpu, "dawn, wgpu-native or the path of a WebGPU library"))
      ->type_name("LIBRARY");
  from_environment(app.add_option("--threads", threads, "of the CPU backend; 0: all cores"))
      ->type_name("N")
      ->check(CLI::Range(0, 4096).description(""))
      ->capture_default_str();
  from_environment(app.add_option("--onednn", onednn,
                                  "of --precision fast on the CPU: on, off or the path of "
                                  "libdnnl.so.3; auto: on for processors with AMX"))
      ->type_name("WHEN")
      ->capture_default_str();
  from_environment(
      app.add_option("--memory-limit", memory_limit, "refuse to take more device memory, e.g. 96G"))
      ->type_name("BYTES");
  from_environment(app.add_option("--precision", precision,
                                  "of matrix products with many rows: exact (activations keep F32) "
                                  "or fast (one F16 or BF16 term); auto: fast on WebGPU"))
      ->type_name("CLASS")
      ->capture_default_str();
  from_environment(
      app.add_option("--tune", tune,
                     "kernel shapes for this GPU: cached (measured once), again, off or "
                     "SHAPE=VALUE,... (the rest as off)"))
      ->type_name("WHEN")
      ->capture_default_str();
  from_environment(
      app.add_option("--weights", weights,
                     "copy (into device memory), host (in host memory, filled once), "
                     "map (in the file's pages, where the driver can); auto: map, else "
                     "host on devices that share the host's memory, copy on others"))
      ->type_name("WHERE")
      ->capture_default_str();
  from_environment(app.add_flag("--safe", safe, "WebGPU with bounds checks and zeroed memory"));
  app.add_option("--record", record,
                 "save every WebGPU dispatch with its operands in this folder, for doctor --replay")
      ->type_name("FOLDER");
}

Precision DeviceFlags::precision_on(DeviceKind kind) const {
  if (precision == "exact" || (precision == "auto" && kind == DeviceKind::Cpu)) {
    return Precision::Exact;
  }
  if (precision == "fast" || precision == "auto") {
    return Precision::Fast;
  }
  wrong("--precision", precision, "auto, exact or fast");
}

WeightMode DeviceFlags::weight_mode() const {
  constexpr std::pair<std::string_view, WeightMode> kModes[] = {{"auto", WeightMode::Auto},
                                                                {"copy", WeightMode::Copy},
                                                                {"host", WeightMode::Host},
                                                                {"map", WeightMode::Map}};
  for (const auto& [name, mode] : kModes) {
    if (weights == name) {
      return mode;
    }
  }
  wrong("--weights", weights, "auto, copy, host or map");
}

WgpuOptions DeviceFlags::wgpu_options() const {
  WgpuOptions options;
  options.library = webgpu;
  options.checked = safe;
  options.record = record;
  options.profile = profile;
  options.tune = tune == "cached" ? Tune::Cached : tune == "again" ? Tune::Again : Tune::Defaults;
  if (tune.find('=') != std::string::npos) {
    options.shapes = tune;
  } else if (options.tune == Tune::Defaults && tune != "off") {
    wrong("--tune", tune, "cached, again, off or SHAPE=VALUE");
  }
  options.precision = precision_on(DeviceKind::Wgpu);
  options.weights = weight_mode();
  options.memory_budget = memory_limit.empty() ? 0 : parse_bytes(memory_limit);
  constexpr std::string_view kIndexed = "wgpu:";
  if (device.starts_with(kIndexed)) {
    const char* begin = device.data() + kIndexed.size();
    const char* end = device.data() + device.size();
    const auto [stop, error] = std::from_chars(begin, end, options.adapter);
    if (error != std::errc() || stop != end || options.adapter < 0) {
      wrong("--device", device, "wgpu:INDEX with the number of an adapter");
    }
  }
  return options;
}

Device DeviceFlags::open_cpu() const {
  return Device::cpu(threads, precision_on(DeviceKind::Cpu), onednn);
}

Device DeviceFlags::open(bool quiet) const {
  if (device == "cpu") {
    return open_cpu();
  }
  if (device == "wgpu" || device.starts_with("wgpu:")) {
    return Device::wgpu(wgpu_options());
  }
  if (device != "auto") {
    wrong("--device", device, "auto, cpu, wgpu or wgpu:INDEX");
  }
  std::string why;
  try {
    Device found = Device::wgpu(wgpu_options());
    if (!found.limits().software) {
      if (!quiet) {
        note("device: " + found.name());
      }
      return found;
    }
    why = "the only adapter is " + found.name();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::Unavailable) {
      throw;
    }
    why = std::string(error.what()).substr(0, std::string_view(error.what()).find('\n'));
  }
  Device cpu = open_cpu();
  if (!quiet) {
    note(fmt::format("device: {} (no GPU: {})", cpu.name(), why));
  }
  return cpu;
}

void ModelFlags::declare(CLI::App& app) {
  declare_model(app, model)->required();
  from_environment(
      app.add_option("-c,--ctx-size", context, "positions at most; 0: the model's own limit"))
      ->type_name("N")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 31).description(""))
      ->capture_default_str();
  from_environment(
      app.add_option("--kv-type", kv_type, "type of the key/value cache: f32, bf16 or q8"))
      ->type_name("TYPE")
      ->capture_default_str();
  from_environment(app.add_option("--chat-template", chat_template,
                                  "a Jinja file instead of the model's template"))
      ->type_name("FILE");
  from_environment(
      app.add_option("--prefill-chunk", prefill_chunk, "prompt tokens a forward pass, 1 to 65536"))
      ->type_name("N")
      ->check(CLI::Range(1, 65536).description(""))
      ->capture_default_str();
}

CLI::Option* declare_model(CLI::App& app, std::string& model) {
  return app
      .add_option("MODEL", model, "a folder, a .gguf file or Org/Name[@revision] of the HF cache")
      ->type_name("");
}

DType ModelFlags::kv_dtype() const {
  if (kv_type == "f32" || kv_type == "F32") {
    return DType::F32;
  }
  if (kv_type == "bf16" || kv_type == "BF16") {
    return DType::BF16;
  }
  if (kv_type == "q8" || kv_type == "Q8") {
    return DType::Q8_16;
  }
  wrong("--kv-type", kv_type, "f32, bf16 or q8");
}

engine::EngineOptions ModelFlags::engine_options() const {
  engine::EngineOptions options;
  options.kv_type = kv_dtype();
  options.context = context;
  options.prefill_chunk = prefill_chunk;
  options.chat_template_file = chat_template;
  return options;
}

void SamplingFlags::declare(CLI::App& app, bool environment) {
  const auto add = [&](const char* name, auto& value, const char* help, const char* type) {
    CLI::Option* option = app.add_option(name, value, help)->type_name(type);
    return environment ? from_environment(option) : option;
  };
  add("-n,--max-tokens", max_tokens, "longest answer", "N")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 31).description(""))
      ->capture_default_str();
  add("--temp,--temperature", temperature, "0: always the best token", "T");
  add("--top-k", top_k, "draw from the k best; 0: from all", "K");
  add("--top-p", top_p, "draw from the best that together reach p", "P");
  add("--min-p", min_p, "drop what is less likely than min-p times the best", "P");
  add("--repeat-penalty", repetition_penalty, "above 1: avoid what was said", "X");
  add("--seed", seed, "of the draw", "N")->capture_default_str();
  app.add_option("--stop", stop, "text that ends the answer (repeatable)")
      ->type_name("TEXT")
      ->allow_extra_args(false);
}

void SamplingFlags::apply(engine::Request& request) const {
  nn::SamplingOptions& sampling = request.sampling;
  const bool shaped = top_k || top_p || min_p;
  // Asking for top-k or top-p means asking for a draw.
  if (shaped && !temperature && sampling.greedy()) {
    sampling.temperature = 1.0f;
  }
  sampling.temperature = temperature.value_or(sampling.temperature);
  sampling.top_k = top_k.value_or(sampling.top_k);
  sampling.top_p = top_p.value_or(sampling.top_p);
  sampling.min_p = min_p.value_or(sampling.min_p);
  sampling.repetition_penalty = repetition_penalty.value_or(sampling.repetition_penalty);
  sampling.seed = seed;
  sampling.check();
  request.max_new_tokens = max_tokens;
  request.stop_strings = stop;
  std::erase(request.stop_strings, "");
}

uint64_t parse_bytes(const std::string& text) {
  uint64_t number = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  const std::string_view unit(stop, static_cast<size_t>(end - stop));
  const std::string_view units = "KMGT";
  int shift = 0;
  if (unit.size() == 1 && units.find(unit[0]) != std::string_view::npos) {
    shift = 10 * (static_cast<int>(units.find(unit[0])) + 1);
  } else if (!unit.empty()) {
    shift = -1;
  }
  if (error != std::errc() || shift < 0 || number > (UINT64_MAX >> shift)) {
    wrong("--memory-limit", text, "a number with K, M, G or T");
  }
  return number << shift;
}

std::string read_text_file(const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) {
    fail(ErrorKind::Io, Subject::Input, "{} is a folder; a file is expected.", path);
  }
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    fail(ErrorKind::NotFound, Subject::Input, "{} cannot be opened.", path);
  }
  std::ostringstream text;
  text << file.rdbuf();
  if (file.bad() || (!file.eof() && file.fail())) {
    fail(ErrorKind::Io, Subject::Input, "{} cannot be read.", path);
  }
  return std::move(text).str();
}

std::string text_or_file(const std::string& argument) {
  if (argument == "-") {
    std::string text(std::istreambuf_iterator<char>(std::cin), {});
    throw_if_interrupted();
    return text;
  }
  return argument.starts_with('@') ? read_text_file(argument.substr(1)) : argument;
}

}  // namespace candela::cli
