#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/bf16.h"
#include "base/error.h"
#include "base/threads.h"
#include "cli/command.h"
#include "cli/exit_code.h"
#include "cli/session.h"
#include "cli/terminal.h"
#include "engine/find_model.h"
#include "models/qwen3_omni/inventory.h"

namespace candela::cli {

namespace {

/// Everything found wrong, in words.
using Findings = std::vector<std::string>;

template <typename T>
bool all_finite(HostPiece bytes) {
  const size_t count = bytes.size() / sizeof(T);
  for (size_t i = 0; i < count; ++i) {
    T value;
    std::memcpy(&value, bytes.data() + i * sizeof(T), sizeof(T));
    uint32_t bits = 0;
    if constexpr (std::is_same_v<T, BFloat16>) {
      bits = static_cast<uint32_t>(value.bits & 0x7f80u) << 16;
    } else {
      static_assert(std::is_same_v<T, float>);
      bits = std::bit_cast<uint32_t>(value) & 0x7f800000u;
    }
    if (bits == 0x7f800000u) {
      return false;
    }
  }
  return true;
}

bool is_finite(const WeightInfo& tensor) {
  switch (tensor.dtype) {
    case DType::BF16:
      return all_finite<BFloat16>(tensor.bytes);
    case DType::F32:
      return all_finite<float>(tensor.bytes);
    default:
      return true;  // scales of blocks and F16 are covered by loading and running
  }
}

/// Reads every byte, so that a bad disk or a truncated file shows.
void check_values(const WeightSource& source, bool quiet, Findings& findings) {
  uint64_t total = 0;
  uint64_t done = 0;
  for (const WeightInfo& tensor : source.tensors()) {
    total += tensor.bytes.size();
  }
  ProgressBar bar("reading", quiet);
  for (const WeightInfo& tensor : source.tensors()) {
    throw_if_interrupted();
    if (!is_finite(tensor)) {
      findings.push_back(fmt::format("{} in {} holds infinities or NaN", tensor.name, tensor.file));
    }
    done += tensor.bytes.size();
    bar.update(done, total);
    source.release(tensor);
  }
}

/// Names and shapes of an Omni checkpoint, all parts.
void check_omni(const models::ModelFiles& files, Findings& findings) {
  std::vector<std::string> known;
  for (const models::Part& part : models::omni_parts(files)) {
    const models::PartState state = models::compare_part(part, *files.weights);
    if (state.present > 0 || part.required) {
      for (const std::string& name : state.missing) {
        findings.push_back("missing: " + name);
      }
    }
    for (const std::string& text : state.misshapen) {
      findings.push_back("wrong shape: " + text);
    }
    for (const models::ExpectedTensor& tensor : part.tensors) {
      known.push_back(tensor.name);
    }
  }
  std::ranges::sort(known);
  for (const WeightInfo& tensor : files.weights->tensors()) {
    if (!std::ranges::binary_search(known, tensor.name)) {
      findings.push_back("unknown: " + tensor.name);
    }
  }
}

/// For the plain architectures loading on the CPU is the check: it maps, looks up and compares
/// every tensor without copying one.
void check_plain(const models::ModelFiles& files, Findings& findings) {
  try {
    models::load_model(files, Device::cpu(1));
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::CorruptData && error.kind() != ErrorKind::NotFound) {
      throw;
    }
    findings.emplace_back(error.what());
  }
}

int verify(const std::string& model, bool json, bool quiet) {
  const models::ModelFiles files = models::open_model(engine::find_model(model));
  Findings findings;
  if (files.config.contains("thinker_config")) {
    check_omni(files, findings);
  } else {
    check_plain(files, findings);
  }
  check_values(*files.weights, quiet || json, findings);
  if (json) {
    write_out(nlohmann::ordered_json{{"schema_version", 1},
                                     {"path", files.path},
                                     {"tensors", files.weights->tensors().size()},
                                     {"findings", findings}}
                  .dump(2) +
              "\n");
  } else {
    for (const std::string& finding : findings) {
      write_out(printable(finding) + "\n");
    }
    write_out(fmt::format("{}: {} tensors, {} findings\n", files.path,
                          files.weights->tensors().size(), findings.size()));
  }
  return findings.empty() ? 0 : kExitThreshold;
}

}  // namespace

std::function<int()> setup_verify(CLI::App& app) {
  struct Flags {
    std::string model;
    bool json = false, quiet = false;
  };
  auto flags = std::make_shared<Flags>();
  app.add_option("MODEL", flags->model, "a folder, a .gguf file or Org/Name of the HF cache")
      ->required();
  app.add_flag("--json", flags->json, "one JSON object");
  app.add_flag("-q,--quiet", flags->quiet, "no progress");
  return [flags] { return verify(flags->model, flags->json, flags->quiet); };
}

}  // namespace candela::cli
