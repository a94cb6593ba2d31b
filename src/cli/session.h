#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "cli/options.h"

namespace candela::cli {

/// Loads the model with a progress bar and says what it took on stderr unless `quiet`.
engine::Engine load_engine(const ModelFlags& model, const Device& device, bool quiet);

/// Checks that the memory plan fits a limit given by the user, before anything is loaded.
/// @throws OutOfMemory with the plan
void check_plan(const ModelFlags& model, uint64_t limit);

/// "usage" and "timings" of an answer as the field names them.
nlohmann::ordered_json to_json(const engine::Stats& stats);

/// The statistics line on stderr.
void print_stats(const engine::Engine& engine, const Device& device, const engine::Stats& stats);

/// Throws Cancelled after a signal.
void throw_if_interrupted();

}  // namespace candela::cli
