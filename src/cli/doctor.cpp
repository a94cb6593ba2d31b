#include <fmt/format.h>

#include <map>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/exit_code.h"
#include "cli/options.h"
#include "cli/session.h"
#include "cli/terminal.h"
#include "parity/case.h"

namespace candela::cli {

namespace {

struct DoctorFlags {
  DeviceFlags device;
  std::string only, replay;
  bool json = false, verbose = false, quick = false;
};

/// How the cases of one op went.
struct OpResult {
  int passed = 0, failed = 0, unsupported = 0;
  double seconds = 0.0;
};

struct Report {
  std::map<std::string, OpResult> ops;
  std::vector<std::string> failures;
};

void examine(const DoctorFlags& flags,
             const Device& device,
             const std::string& only,
             Precision precision,
             Report& report) {
  const auto& cases = parity::all_cases();
  ProgressBar bar(precision == Precision::Fast ? "checking the fast class" : "checking", flags.json,
                  "cases");
  uint64_t done = 0;
  for (const parity::Case& one : cases) {
    throw_if_interrupted();
    bar.update(++done, cases.size());
    if (!one.name.starts_with(flags.only) || !one.name.starts_with(only) ||
        (flags.quick && !one.basic)) {
      continue;
    }
    const parity::Outcome outcome = parity::run_case(one, device, precision);
    OpResult& op = report.ops[precision == Precision::Fast ? one.op + " (fast)" : one.op];
    op.seconds += outcome.seconds;
    switch (outcome.status) {
      case parity::Outcome::Status::Passed:
        ++op.passed;
        break;
      case parity::Outcome::Status::Unsupported:
        ++op.unsupported;
        break;
      case parity::Outcome::Status::Failed:
        ++op.failed;
        report.failures.push_back(one.name + ": " + outcome.message);
        break;
    }
  }
}

/// Every case in the class that was asked for; where matrix cores round activations in the fast
/// class, products and attention once more in that class.
Report examine(const DoctorFlags& flags, const Device& device) {
  Report report;
  const Precision asked = flags.device.precision_on(device.kind());
  examine(flags, device, "", asked, report);
  if (device.limits().subgroup_matrix && asked == Precision::Exact) {
    DoctorFlags fast = flags;
    fast.device.precision = "fast";
    const Device other = fast.device.open(true);
    for (const char* op : {"linear/", "moe/", "attention/"}) {
      examine(fast, other, op, Precision::Fast, report);
    }
  }
  return report;
}

void print(const DoctorFlags& flags, const Report& report) {
  OpResult total;
  for (const auto& [name, op] : report.ops) {
    total.passed += op.passed;
    total.failed += op.failed;
    total.unsupported += op.unsupported;
    total.seconds += op.seconds;
    if (flags.verbose || op.failed > 0) {
      write_out(fmt::format("{:20} {:4} passed {:4} failed {:4} unsupported {:8.2f} s\n", name,
                            op.passed, op.failed, op.unsupported, op.seconds));
    }
  }
  for (const std::string& failure : report.failures) {
    write_out("FAILED " + printable(failure) + "\n");
  }
  write_out(fmt::format("{} ops: {} passed, {} failed, {} unsupported in {:.1f} s\n",
                        report.ops.size(), total.passed, total.failed, total.unsupported,
                        total.seconds));
}

const char* describe(WeightPlace place) {
  switch (place) {
    case WeightPlace::FilePages:
      return "read in place from the mapped file, else from host memory that is filled once";
    case WeightPlace::HostMemory:
      return "read from host memory that is filled once";
    case WeightPlace::DeviceMemory:
      break;
  }
  return "copied into device memory";
}

void print_json(const Device& device, const Report& report) {
  nlohmann::ordered_json out{{"schema_version", 1},
                             {"device", device.name()},
                             {"weights", describe(device.backend().weight_place())},
                             {"failures", report.failures},
                             {"ops", nlohmann::ordered_json::object()}};
  for (const auto& [name, op] : report.ops) {
    out["ops"][name] = {{"passed", op.passed},
                        {"failed", op.failed},
                        {"unsupported", op.unsupported},
                        {"seconds", op.seconds}};
  }
  write_out(out.dump(2) + "\n");
}

/// Runs a recording again and names the dispatches that came out otherwise.
int replay(const DoctorFlags& flags, const Device& device) {
  uint64_t broken = 0;
  const std::vector<ReplayedDispatch> dispatches = device.replay(flags.replay);
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const ReplayedDispatch& one : dispatches) {
    broken += one.different > 0 ? 1 : 0;
    list.push_back({{"kernel", one.kernel}, {"bytes", one.bytes}, {"different", one.different}});
    if (!flags.json && (flags.verbose || one.different > 0)) {
      write_out(fmt::format("{}: {} of {} bytes differ\n", one.kernel, one.different, one.bytes));
    }
  }
  if (flags.json) {
    write_out(nlohmann::ordered_json{{"schema_version", 1}, {"dispatches", list}}.dump(2) + "\n");
  } else {
    write_out(fmt::format("{} dispatches, {} with other results\n", dispatches.size(), broken));
  }
  return broken == 0 ? 0 : kExitThreshold;
}

int doctor(const DoctorFlags& flags) {
  const Device device = flags.device.open(flags.json);
  if (!flags.replay.empty()) {
    return replay(flags, device);
  }
  if (!flags.json) {
    const Limits& limits = device.limits();
    write_out(fmt::format("{}\nbindings to {}, subgroups {}..{}{}{}{}\n", device.name(),
                          engine::format_bytes(limits.max_binding_bytes), limits.subgroup_min,
                          limits.subgroup_max, limits.shader_f16 ? ", f16" : "",
                          limits.subgroup_matrix ? ", subgroup matrices" : "",
                          limits.timestamps ? ", timestamps" : ""));
    write_out(fmt::format("weights: {}\n", describe(device.backend().weight_place())));
  }
  const Report report = examine(flags, device);
  if (flags.json) {
    print_json(device, report);
  } else {
    print(flags, report);
  }
  return report.failures.empty() ? 0 : kExitThreshold;
}

}  // namespace

std::function<int()> setup_doctor(CLI::App& app) {
  auto flags = std::make_shared<DoctorFlags>();
  flags->device.device = "wgpu";
  app.add_option("--only", flags->only, "only cases whose name begins so, e.g. matmul/");
  app.add_option("--replay", flags->replay, "instead: run what --record saved in this folder again")
      ->type_name("FOLDER");
  app.add_flag("--quick", flags->quick, "a small selection");
  app.add_flag("--json", flags->json, "one JSON object");
  app.add_flag("-v,--verbose", flags->verbose, "a line for every op");
  flags->device.precision = "exact";
  flags->device.declare(app);
  return [flags] { return doctor(*flags); };
}

}  // namespace candela::cli
