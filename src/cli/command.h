#pragma once

#include <CLI/App.hpp>
#include <functional>
#include <span>

namespace candela::cli {

/// One subcommand. `setup` declares its options on `app` and returns what to do once they are
/// parsed; that returns the exit code.
struct Command {
  const char* name;
  const char* help;
  const char* examples;  ///< lines for the end of its --help
  std::function<int()> (*setup)(CLI::App& app);
};

/// The table in commands.cpp, in the order of `candela --help`.
std::span<const Command> commands();

std::function<int()> setup_run(CLI::App& app);
std::function<int()> setup_chat(CLI::App& app);
std::function<int()> setup_info(CLI::App& app);
std::function<int()> setup_verify(CLI::App& app);
std::function<int()> setup_tokenize(CLI::App& app);
std::function<int()> setup_devices(CLI::App& app);
std::function<int()> setup_doctor(CLI::App& app);
std::function<int()> setup_bench(CLI::App& app);
std::function<int()> setup_trace(CLI::App& app);
std::function<int()> setup_completion(CLI::App& app);

}  // namespace candela::cli
