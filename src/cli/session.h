#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "cli/interrupt.h"
#include "cli/options.h"

namespace candela::cli {

/// Loads the model with a progress bar and says what it took on stderr unless `quiet`.
engine::Engine load_engine(const ModelFlags& model, const Device& device, bool quiet);

/// Finds the model and checks that its memory plan fits a limit given by the user (0: none), before
/// a device is opened or anything loaded. @throws NotFound, OutOfMemory with the plan
void check_plan(const ModelFlags& model, uint64_t limit);

/// "usage" and "timings" of an answer as the field names them.
nlohmann::ordered_json to_json(const engine::Stats& stats);

/// The statistics line on stderr.
void print_stats(const engine::Engine& engine, const Device& device, const engine::Stats& stats);

/// Checks that the prompt fits the context and shortens the longest answer to what is left.
/// @throws InvalidArgument with both numbers
void fit_context(engine::Request& request, engine::Engine& engine, int64_t context);

}  // namespace candela::cli
