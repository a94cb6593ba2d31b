#include "backend/wgpu/tuning.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "backend/wgpu/wgpu_backend.h"
#include "base/error.h"
#include "base/log.h"

namespace candela::wgpu {
namespace {

namespace fs = std::filesystem;
constexpr log::Area kLog{"wgpu"};

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

std::span<const TuningField> tuning_fields() {
  static const std::vector<TuningField> kFields = {
      {"short_matrix_subgroups", &Tuning::short_matrix_subgroups, {1, 2, 4, 8}},
      {"expert_down_rows", &Tuning::expert_down_rows, {1, 2, 4, 8}},
      {"expert_gate_up_subgroups", &Tuning::expert_gate_up_subgroups, {1, 2}},
      {"counted_expert_tiles", &Tuning::counted_expert_tiles, {0, 1}},
  };
  return kFields;
}

Tuning parse_tuning(const std::string& text) {
  Tuning tuning;
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) {
    const auto field = std::ranges::find_if(tuning_fields(), [&](const TuningField& each) {
      return std::ranges::any_of(each.choices, [&](uint32_t choice) {
        return part == fmt::format("{}={}", each.name, choice);
      });
    });
    if (field == tuning_fields().end()) {
      std::string known;
      for (const TuningField& each : tuning_fields()) {
        known += fmt::format("{}{}={}", known.empty() ? "" : ", ", each.name,
                             fmt::join(each.choices, "|"));
      }
      fail(ErrorKind::InvalidArgument, Subject::Usage,
           "There is no kernel shape \"{}\"; those that --tune sets are {}.", part, known);
    }
    tuning.*field->value = static_cast<uint32_t>(std::stoul(part.substr(part.find('=') + 1)));
  }
  return tuning;
}

std::string tuning_file(const WgpuBackend& backend) {
  std::string name = backend.name() + " " + backend.adapter().driver;
  std::ranges::replace_if(
      name, [](unsigned char c) { return std::isalnum(c) == 0 && c != '.'; }, '_');
  const std::string xdg = environment("XDG_CACHE_HOME");
  const fs::path root = xdg.empty() ? fs::path(environment("HOME")) / ".cache" : fs::path(xdg);
  return (root / "candela" / "tuning" / (name + ".txt")).string();
}

bool read_tuning(const std::string& file, Tuning& tuning) {
  std::ifstream in(file);
  std::map<std::string, uint32_t> values;
  std::string name;
  uint32_t value = 0;
  while (in >> name >> value) {
    values[name] = value;
  }
  Tuning read;
  for (const TuningField& field : tuning_fields()) {
    const auto found = values.find(field.name);
    if (found == values.end() ||
        std::ranges::find(field.choices, found->second) == field.choices.end()) {
      return false;
    }
    read.*field.value = found->second;
  }
  tuning = read;
  return true;
}

void write_tuning(const std::string& file, const Tuning& tuning) {
  std::error_code error;
  fs::create_directories(fs::path(file).parent_path(), error);
  // Under a name of its own first: several programs may start at once.
  const std::string draft = file + "." + std::to_string(::getpid());
  {
    std::ofstream out(draft);
    for (const TuningField& field : tuning_fields()) {
      out << field.name << ' ' << tuning.*field.value << '\n';
    }
  }
  fs::rename(draft, file, error);
  if (error) {
    log::info(kLog, "the tuning cannot be kept", {{"file", file}, {"reason", error.message()}});
  }
}

}  // namespace candela::wgpu
