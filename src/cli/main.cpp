#include <CLI/CLI.hpp>
#include <exception>
#include <functional>
#include <new>
#include <string>
#include <vector>

#include "backend/device.h"
#include "cli/command.h"
#include "cli/exit_code.h"
#include "cli/interrupt.h"
#include "cli/terminal.h"

namespace candela {
namespace {

constexpr const char* kEnvironment =
    "Environment:\n"
    "  CANDELA_DEVICE, CANDELA_WEBGPU, ...   defaults of flags; COMMAND --help names them (Env:)\n"
    "  CANDELA_WEBGPU_LIB                    path of a WebGPU library, before those that are "
    "found\n"
    "  CANDELA_WGSL_DIR                      folder of kernels that replace the built-in ones\n"
    "  CANDELA_LOG                           error, warn, info, debug or trace\n"
    "  HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME where Org/Name is looked up; tuned shapes lie below "
    "the last\n"
    "  NO_COLOR                              no colours\n\n";

std::string version() {
  std::string text = "candela " CANDELA_VERSION;
  try {
    for (const std::string& library : Device::libraries()) {
      text += "\nWebGPU library " + cli::printable(library);
    }
  } catch (const Error&) {
    text += "\nno WebGPU library";
  }
  return text;
}

int run(int argc, char** argv) {
  CLI::App app("candela: Qwen3-Omni and text models on any GPU, from the original files.",
               "candela");
  app.require_subcommand(1);
  app.set_version_flag("--version", version);
  app.footer(std::string(kEnvironment) + cli::exit_code_help());
  std::vector<std::pair<CLI::App*, std::function<int()>>> bodies;
  for (const cli::Command& command : cli::commands()) {
    CLI::App* sub = app.add_subcommand(command.name, command.help);
    bodies.emplace_back(sub, command.setup(*sub));
    sub->footer(
        std::string("Examples:\n") + command.examples +
        "\nA flag goes before its environment variable (Env:), that before the model's\n"
        "generation_config.json, that before the default. `candela --help` lists exit codes.");
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : cli::kExitUsage;  // help and version are "errors" with 0
  }
  for (const auto& [sub, body] : bodies) {
    if (sub->parsed()) {
      return body();
    }
  }
  return cli::kExitUsage;
}

}  // namespace
}  // namespace candela

int main(int argc, char** argv) {
  namespace cli = candela::cli;
  cli::catch_signals();
  try {
    return candela::run(argc, argv);
  } catch (const candela::Error& error) {
    cli::note_error(error.what());
    return cli::exit_code(error);
  } catch (const std::bad_alloc&) {
    cli::note_error("The host has no memory left.");
    return cli::kExitOutOfMemory;
  } catch (const std::exception& error) {
    cli::note_error(error.what());
    return cli::kExitFailure;
  }
}
