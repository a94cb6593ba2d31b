#pragma once

#include <CLI/App.hpp>
#include <string>

#include "cli/options.h"

namespace candela::cli {

/// The part of `bench` that is about files: how fast a model loads, and a checkpoint to load.
struct LoadBenchFlags {
  bool load = false;
  std::string checkpoint;  ///< folder to write one to
  int64_t layers = 0;

  void declare(CLI::App& app);
};

/// Loads MODEL cold and from the page cache and prints GB/s beside what the disk and the copy to
/// the device do alone. @return the exit code
int bench_load(const std::string& model, const Device& device, bool json, bool quiet);

/// Writes a random checkpoint of the text part that CONFIG describes, with its config.json.
/// @return the exit code
int write_checkpoint(const LoadBenchFlags& flags,
                     const std::string& config,
                     uint64_t seed,
                     bool quiet);

}  // namespace candela::cli
