#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

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

/// Whether a number in every `stride` bytes has an exponent that is not all ones: all others are
/// infinities or NaN.
template <typename Bits>
bool all_finite(HostPiece bytes, Bits exponent, int64_t stride, size_t offset = 0) {
  for (size_t at = offset; at + sizeof(Bits) <= bytes.size(); at += static_cast<size_t>(stride)) {
    Bits bits = 0;
    std::memcpy(&bits, bytes.data() + at, sizeof(Bits));
    if ((bits & exponent) == exponent) {
      return false;
    }
  }
  return true;
}

/// Of quantised blocks the scale is looked at, and the minimum where there is one.
bool is_finite(const WeightInfo& tensor) {
  constexpr uint16_t kExponentF16 = 0x7c00;
  constexpr uint16_t kExponentBF16 = 0x7f80;
  constexpr uint32_t kExponentF32 = 0x7f800000;
  const int64_t stride = block_bytes(tensor.dtype);
  switch (tensor.dtype) {
    case DType::BF16:
      return all_finite(tensor.bytes, kExponentBF16, stride);
    case DType::F32:
      return all_finite(tensor.bytes, kExponentF32, stride);
    case DType::F16:
    case DType::Q8_0:
    case DType::Q4_0:
      return all_finite(tensor.bytes, kExponentF16, stride);
    case DType::Q4_1:
      return all_finite(tensor.bytes, kExponentF16, stride) &&
             all_finite(tensor.bytes, kExponentF16, stride, sizeof(uint16_t));
    default:
      return true;  // integers
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
  declare_model(app, flags->model)->required();
  app.add_flag("--json", flags->json, "one JSON object");
  app.add_flag("-q,--quiet", flags->quiet, "no progress");
  return [flags] { return verify(flags->model, flags->json, flags->quiet); };
}

}  // namespace candela::cli
