#include "cli/session.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "cli/terminal.h"
#include "engine/find_model.h"

namespace candela::cli {

engine::Engine load_engine(const ModelFlags& model, const Device& device, bool quiet) {
  ProgressBar bar("loading", quiet);
  engine::EngineOptions options = model.engine_options();
  options.progress = [&](uint64_t done, uint64_t total) {
    throw_if_interrupted();
    bar.update(done, total);
  };
  return engine::Engine(model.model, device, std::move(options));
}

void check_plan(const ModelFlags& model, uint64_t limit) {
  const std::string path = engine::find_model(model.model);
  if (limit == 0) {
    return;
  }
  const models::ModelFiles files = models::open_model(path);
  const models::TextConfig config = models::find_architecture(files).text_config(files);
  const int64_t positions = model.context > 0 ? model.context : 4096;
  const engine::MemoryPlan plan = engine::plan_memory(
      config, models::loaded_bytes(files), positions, model.kv_dtype(), model.prefill_chunk);
  if (plan.total() > limit) {
    fail(ErrorKind::OutOfMemory, Subject::Device,
         "{} needs {} for {} positions, --memory-limit allows {}; lower --ctx-size or "
         "--prefill-chunk.",
         model.model, engine::summary(plan), positions, engine::format_bytes(limit));
  }
}

nlohmann::ordered_json to_json(const engine::Stats& stats) {
  return {{"usage",
           {{"prompt_tokens", stats.prompt_tokens},
            {"completion_tokens", stats.new_tokens},
            {"total_tokens", stats.prompt_tokens + stats.new_tokens}}},
          {"timings",
           {{"prompt_n", stats.prompt_tokens},
            {"prompt_ms", stats.prefill_seconds * 1e3},
            {"prompt_per_second", stats.prefill_rate()},
            {"predicted_n", stats.new_tokens},
            {"predicted_ms", stats.decode_seconds * 1e3},
            {"predicted_per_second", stats.decode_rate()}}}};
}

void print_stats(const engine::Engine& engine, const Device& device, const engine::Stats& stats) {
  note(fmt::format("{} · loaded {} in {:.2f} s · {}", device.name(),
                   engine::format_bytes(engine.plan().lines.front().bytes), engine.load_seconds(),
                   engine::summary(stats)));
}

void fit_context(engine::Request& request, engine::Engine& engine, int64_t context) {
  const int64_t own = engine.model().text.config().max_positions;
  const int64_t limit = context > 0 ? std::min(context, own) : own;
  const auto prompt = static_cast<int64_t>(request.ids.size());
  if (prompt >= limit) {
    fail(
        ErrorKind::InvalidArgument, Subject::Usage,
        "The prompt has {} tokens, the context has {} positions and the answer needs some; shorten "
        "the prompt{}.",
        prompt, limit, limit < own ? " or raise --ctx-size" : "");
  }
  request.max_new_tokens = std::min(request.max_new_tokens, limit - prompt);
}

}  // namespace candela::cli
