#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/exit_code.h"
#include "cli/options.h"
#include "cli/terminal.h"

namespace candela::cli {

namespace {

nlohmann::ordered_json to_json(const AdapterInfo& adapter) {
  return {{"library", adapter.library},
          {"library_version", adapter.library_version},
          {"index", adapter.index},
          {"name", adapter.name},
          {"vendor", adapter.vendor},
          {"architecture", adapter.architecture},
          {"driver", adapter.driver},
          {"backend", adapter.backend},
          {"software", adapter.software},
          {"refusal", adapter.refusal},
          {"max_binding_bytes", adapter.limits.max_binding_bytes},
          {"max_buffer_bytes", adapter.limits.max_buffer_bytes},
          {"max_workgroup_bytes", adapter.limits.max_workgroup_bytes},
          {"max_workgroup_threads", adapter.limits.max_workgroup_threads},
          {"subgroup_min", adapter.limits.subgroup_min},
          {"subgroup_max", adapter.limits.subgroup_max},
          {"shader_f16", adapter.limits.shader_f16},
          {"subgroup_matrix", adapter.limits.subgroup_matrix},
          {"timestamps", adapter.limits.timestamps},
          {"shares_memory", adapter.limits.shares_memory},
          {"binds_host_memory", adapter.limits.binds_host_memory}};
}

std::string describe(const AdapterInfo& adapter) {
  std::string text =
      fmt::format("wgpu:{} {} ({}, {})\n", adapter.index, printable(adapter.name), adapter.backend,
                  adapter.library_version.empty() ? adapter.library : adapter.library_version);
  if (!adapter.refusal.empty()) {
    return text + "    cannot be used: " + printable(adapter.refusal) + "\n";
  }
  const Limits& limits = adapter.limits;
  text += fmt::format(
      "    bindings to {}, buffers to {}, subgroups {}{}{}{}{}{}{}\n",
      engine::format_bytes(limits.max_binding_bytes), engine::format_bytes(limits.max_buffer_bytes),
      limits.subgroup_max == 0 ? std::string("none")
                               : fmt::format("{}..{}", limits.subgroup_min, limits.subgroup_max),
      limits.shader_f16 ? ", f16" : "", limits.subgroup_matrix ? ", subgroup matrices" : "",
      limits.timestamps ? ", timestamps" : "", adapter.software ? ", software" : "",
      limits.shares_memory ? ", shares the host's memory" : "",
      limits.binds_host_memory ? ", binds host memory" : "");
  return text;
}

int devices(const DeviceFlags& flags, bool json) {
  const std::vector<AdapterInfo> adapters = Device::adapters(flags.wgpu_options());
  const std::string cpu = flags.open_cpu().name();
  if (json) {
    nlohmann::ordered_json out{{"schema_version", 1}, {"cpu", cpu}};
    out["adapters"] = nlohmann::ordered_json::array();
    for (const AdapterInfo& adapter : adapters) {
      out["adapters"].push_back(to_json(adapter));
    }
    write_out(out.dump(2) + "\n");
    return 0;
  }
  write_out("cpu    " + cpu + "\n");
  for (const AdapterInfo& adapter : adapters) {
    write_out(describe(adapter));
  }
  return 0;
}

}  // namespace

std::function<int()> setup_devices(CLI::App& app) {
  struct Flags {
    DeviceFlags device;
    bool json = false;
  };
  auto flags = std::make_shared<Flags>();
  flags->device.declare(app);
  app.add_flag("--json", flags->json, "one JSON object");
  return [flags] { return devices(flags->device, flags->json); };
}

}  // namespace candela::cli
