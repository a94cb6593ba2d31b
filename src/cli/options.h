#pragma once

#include <CLI/App.hpp>
#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"

namespace candela::cli {

/// --device, --webgpu, --safe, ...: where to compute.
struct DeviceFlags {
  std::string device = "auto";
  std::string webgpu;
  bool safe = false;
  int threads = 0;
  std::string onednn = "auto";
  std::string memory_limit;
  std::string record;
  Profile profile = Profile::Off;
  std::string precision = "auto";
  std::string tune = "cached";
  std::string weights = "auto";

  void declare(CLI::App& app);
  /// "auto" is fast on WebGPU and exact on the CPU. @throws InvalidArgument
  Precision precision_on(DeviceKind kind) const;
  /// @throws InvalidArgument
  WeightMode weight_mode() const;
  /// Opens it. "auto" takes a real GPU if there is one, else the CPU, and says which on stderr
  /// unless `quiet`. @throws InvalidArgument, Unavailable
  Device open(bool quiet) const;
  /// The CPU. @throws InvalidArgument, Unavailable
  Device open_cpu() const;
  /// Of a WebGPU device, with adapter -1 unless --device names one.
  WgpuOptions wgpu_options() const;
};

/// MODEL, --ctx-size, --kv-type, --chat-template: what to load.
struct ModelFlags {
  std::string model;
  int64_t context = 0;
  std::string kv_type = "bf16";
  std::string chat_template;
  int64_t prefill_chunk = 2048;

  void declare(CLI::App& app);
  engine::EngineOptions engine_options() const;
  DType kv_dtype() const;
};

/// --temp, --top-k, ...: unset ones keep what generation_config.json says.
struct SamplingFlags {
  std::optional<float> temperature, top_p, min_p, repetition_penalty;
  std::optional<int64_t> top_k;
  uint64_t seed = 0;
  int64_t max_tokens = 1024;
  std::vector<std::string> stop;

  /// @param environment  whether CANDELA_TOP_K and so on give the defaults
  void declare(CLI::App& app, bool environment = true);
  void apply(engine::Request& request) const;
};

/// Declares MODEL.
CLI::Option* declare_model(CLI::App& app, std::string& model);
/// Names the environment variable that gives the default: CANDELA_TOP_K for --top-k.
CLI::Option* from_environment(CLI::Option* option);

/// "8G", "512M", "1000000": bytes. @throws InvalidArgument
uint64_t parse_bytes(const std::string& text);
/// "@FILE" gives the file's content, "-" standard input, anything else itself.
/// @throws NotFound, Io about the input; Cancelled by a signal while waiting for standard input
std::string text_or_file(const std::string& argument);
std::string read_text_file(const std::string& path);

}  // namespace candela::cli
