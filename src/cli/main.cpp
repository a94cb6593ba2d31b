#include <CLI/CLI.hpp>
#include <exception>
#include <functional>
#include <new>
#include <vector>

#include "cli/command.h"
#include "cli/exit_code.h"
#include "cli/interrupt.h"
#include "cli/terminal.h"

namespace {

using namespace candela;

int run(int argc, char** argv) {
  CLI::App app("candela: Qwen3-Omni and text models on any GPU, from the original files.", "candela");
  app.require_subcommand(1);
  app.set_version_flag("--version", "candela " CANDELA_VERSION);
  app.footer(cli::exit_code_help());
  std::vector<std::pair<CLI::App*, std::function<int()>>> bodies;
  for (const cli::Command& command : cli::commands()) {
    CLI::App* sub = app.add_subcommand(command.name, command.help);
    bodies.emplace_back(sub, command.setup(*sub));
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : cli::kExitUsage;
  }
  for (const auto& [sub, body] : bodies) {
    if (sub->parsed()) {
      return body();
    }
  }
  return cli::kExitUsage;
}

}  // namespace

int main(int argc, char** argv) {
  cli::catch_signals();
  try {
    return run(argc, argv);
  } catch (const Error& error) {
    cli::note(std::string("error: ") + error.what());
    return cli::exit_code(error);
  } catch (const std::bad_alloc&) {
    cli::note("error: The host has no memory left.");
    return cli::kExitOutOfMemory;
  } catch (const std::exception& error) {
    cli::note(std::string("error: ") + error.what());
    return cli::kExitFailure;
  }
}
