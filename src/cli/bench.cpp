#include <fmt/format.h>

#include <algorithm>
#include <random>

#include "base/error.h"
#include "cli/bench_cpu.h"
#include "cli/bench_kernels.h"
#include "cli/bench_load.h"
#include "cli/bench_report.h"
#include "cli/command.h"
#include "cli/session.h"
#include "cli/terminal.h"
#include "engine/find_model.h"
#include "models/text/decode_batch.h"
#include "tensor/ops.h"

namespace candela::cli {

namespace {

struct BenchFlags {
  std::string model, synthetic, kv_type = "bf16";
  std::vector<std::string> matmuls;
  DeviceFlags device;
  LoadBenchFlags files;
  std::vector<int64_t> prompts{512}, answers{128}, depths{0}, batches{1};
  int64_t chunk = 2048;
  int repetitions = 3;
  uint64_t seed = 1;
  bool json = false, quiet = false;
};

/// Token ids that differ, so that experts are chosen as in real text.
std::vector<uint32_t> made_up_prompt(int64_t length, int64_t vocab, uint64_t seed) {
  std::mt19937_64 engine(seed);
  std::vector<uint32_t> ids(static_cast<size_t>(length));
  std::ranges::generate(
      ids, [&] { return static_cast<uint32_t>(engine() % static_cast<uint64_t>(vocab)); });
  return ids;
}

class Bench {
 public:
  Bench(const BenchFlags& flags, models::TextDecoder& model, DType kv_type)
      : flags_(flags), model_(model), cache_(model.make_cache(kv_type, 0)) {}

  BenchRow prompt(int64_t length) {
    BenchRow row;
    row.test = fmt::format("pp{}", length);
    row.tokens_a_pass = static_cast<double>(length);
    repeat([&](bool counted) {
      nn::KvSequence sequence;
      const engine::Stopwatch watch;
      const Counters before = counters();
      prefill(sequence, length);
      const double seconds = watch.seconds();
      cache_.release(sequence);
      if (counted) {
        record(row, length, seconds, before);
      }
    });
    return row;
  }

  BenchRow answer(int64_t length, int64_t depth, int64_t batch) {
    BenchRow row;
    row.test = fmt::format("tg{}", length);
    row.tokens_a_pass = static_cast<double>(batch);
    if (batch == 1) {
      row.bytes = static_cast<double>(model_.config().active_parameters()) * 2.0 +
                  static_cast<double>(cache_.bytes_per_position()) *
                      (static_cast<double>(depth) + static_cast<double>(length) / 2.0);
    }
    row.test += depth > 0 ? fmt::format(" @ d{}", depth) : "";
    row.test += batch > 1 ? fmt::format(" x {}", batch) : "";
    repeat([&](bool counted) {
      std::vector<nn::KvSequence> sequences(static_cast<size_t>(batch));
      for (nn::KvSequence& sequence : sequences) {
        prefill(sequence, std::max<int64_t>(depth, 1));
      }
      model_.device().synchronize();
      busy();
      const engine::Stopwatch watch;
      const Counters before = counters();
      decode(sequences, length);
      const double seconds = watch.seconds();
      row.busy_seconds += counted ? busy() : 0.0;
      row.seconds += counted ? seconds : 0.0;
      if (counted) {
        record(row, length * batch, seconds, before);
        row.dispatches_per_token *= static_cast<double>(batch);
      }
      for (nn::KvSequence& sequence : sequences) {
        cache_.release(sequence);
      }
    });
    return row;
  }

 private:
  const Counters& counters() const { return model_.device().counters(); }

  /// Warm-ups until the device has reached its clock, then the repetitions that count. Two warm-ups
  /// at least: the first compiles kernels, the second still finds its buffers in use.
  template <typename Body>
  void repeat(const Body& body) {
    constexpr double kWarmSeconds = 0.5;
    const engine::Stopwatch watch;
    for (int done = 0; done < 2 || watch.seconds() < kWarmSeconds; ++done) {
      throw_if_interrupted();
      body(false);
    }
    for (int i = 0; i < flags_.repetitions; ++i) {
      throw_if_interrupted();
      body(true);
    }
  }

  void record(BenchRow& row, int64_t tokens, double seconds, const Counters& before) {
    row.tokens_per_second.push_back(static_cast<double>(tokens) / seconds);
    const auto per_token = [&](uint64_t now, uint64_t then) {
      return static_cast<double>(now - then) / static_cast<double>(tokens);
    };
    row.dispatches_per_token = per_token(counters().dispatches, before.dispatches);
    row.readbacks_per_token = per_token(counters().readbacks, before.readbacks);
  }

  void prefill(nn::KvSequence& sequence, int64_t length) {
    const std::vector<uint32_t> ids =
        made_up_prompt(length, model_.config().vocab_size, flags_.seed);
    Tensor logits;
    for (size_t at = 0; at < ids.size(); at += static_cast<size_t>(flags_.chunk)) {
      const size_t count = std::min(static_cast<size_t>(flags_.chunk), ids.size() - at);
      const nn::StepRow row{&sequence, std::span<const uint32_t>(ids).subspan(at, count), false};
      logits = model_.forward({&row, 1}, cache_);
    }
    argmax(logits, -1).to_vec<uint32_t>();
  }

  void decode(std::vector<nn::KvSequence>& sequences, int64_t steps) {
    const std::vector<uint32_t> ids = made_up_prompt(static_cast<int64_t>(sequences.size()),
                                                     model_.config().vocab_size, flags_.seed + 1);
    std::vector<models::DecodeRow> rows;
    rows.reserve(sequences.size());
    for (size_t i = 0; i < sequences.size(); ++i) {
      rows.push_back({&sequences[i], ids[i]});
    }
    models::DecodeBatch batch(model_, cache_, rows);
    for (int64_t step = 0; step < steps; ++step) {
      batch.submit();
      if (batch.in_flight() > 1) {
        batch.take();
      }
    }
    while (batch.in_flight() > 0) {
      batch.take();
    }
  }

  /// Seconds that passes took on the device since the last call; 0 where they are not timed.
  double busy() const {
    double seconds = 0.0;
    if (flags_.device.profile == Profile::Passes) {
      for (const KernelTime& time : model_.device().backend().take_profile()) {
        seconds += time.nanoseconds / 1e9;
      }
    }
    return seconds;
  }

  const BenchFlags& flags_;
  models::TextDecoder& model_;
  nn::KvCache cache_;
};

std::unique_ptr<models::Model> load(const BenchFlags& flags, const Device& device) {
  if (!flags.synthetic.empty()) {
    return models::make_synthetic_model(models::open_config(flags.synthetic), device, flags.seed);
  }
  ProgressBar bar("loading", flags.quiet);
  return models::load_model(models::open_model(engine::find_model(flags.model)), device,
                            [&](uint64_t done, uint64_t total) { bar.update(done, total); });
}

int bench(const BenchFlags& flags) {
  if (!flags.files.checkpoint.empty()) {
    return write_checkpoint(flags.files, flags.synthetic, flags.seed, flags.quiet);
  }
  if (!flags.matmuls.empty()) {
    return bench_matmul(flags.device, flags.matmuls, flags.json);
  }
  if (flags.model.empty() == flags.synthetic.empty()) {
    fail(ErrorKind::InvalidArgument, Subject::Usage, "Give either MODEL or --synthetic CONFIG.");
  }
  const Device device = flags.device.open(flags.quiet);
  if (flags.files.load) {
    return bench_load(flags.model, device, flags.json, flags.quiet);
  }
  if (device.kind() == DeviceKind::Cpu && !flags.json && !flags.quiet) {
    write_out(describe_cpu_kernels(device, flags.device.threads));
  }
  const Peak peak = measure_peak(device, flags.device.profile == Profile::Kernels);
  const engine::Stopwatch loading;
  const std::unique_ptr<models::Model> model = load(flags, device);
  if (!flags.quiet) {
    note(fmt::format("{} in {:.2f} s", engine::format_bytes(device.counters().bytes_in_use),
                     loading.seconds()));
  }
  device.backend().take_profile();
  ModelFlags settings;
  settings.kv_type = flags.kv_type;
  Bench bench(flags, model->text, settings.kv_dtype());
  std::vector<BenchRow> rows;
  for (const int64_t length : flags.prompts) {
    if (length > 0) {
      rows.push_back(bench.prompt(length));
    }
  }
  for (const int64_t length : flags.answers) {
    for (const int64_t depth : flags.depths) {
      for (const int64_t batch : flags.batches) {
        if (length > 0) {
          rows.push_back(bench.answer(length, depth, batch));
        }
      }
    }
  }
  write_out(flags.json ? json_report(device, peak, rows) : text_report(device, peak, rows));
  return 0;
}

}  // namespace

std::function<int()> setup_bench(CLI::App& app) {
  auto flags = std::make_shared<BenchFlags>();
  flags->device.profile = Profile::Passes;
  app.add_option("MODEL", flags->model, "a folder, a .gguf file or Org/Name of the HF cache");
  app.add_option("--synthetic", flags->synthetic,
                 "a config.json: random weights made on the device");
  app.add_option("-p,--prompt", flags->prompts, "prompt lengths to measure")->delimiter(',');
  app.add_option("-n,--answer", flags->answers, "answer lengths to measure")->delimiter(',');
  app.add_option("-d,--depth", flags->depths, "tokens before the answer")->delimiter(',');
  app.add_option("-b,--batch", flags->batches, "sequences together")
      ->delimiter(',')
      ->check(CLI::Range(1, 4096));
  app.add_option("-r,--repetitions", flags->repetitions,
                 "after two warm-ups, half a second at least")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option("--prefill-chunk", flags->chunk, "prompt tokens a forward pass")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  app.add_option("--kv-type", flags->kv_type, "f32, bf16 or q8")->capture_default_str();
  app.add_option("--seed", flags->seed, "of random weights and prompts")->capture_default_str();
  app.add_option("--matmul", flags->matmuls, "instead: time linear with M x K and N x K operands")
      ->type_name("M,N,K");
  app.add_flag_callback(
      "--profile", [flags] { flags->device.profile = Profile::Kernels; },
      "time of each kernel, by timestamp queries; slows the rest down");
  app.add_flag("--json", flags->json, "one JSON object");
  app.add_flag("-q,--quiet", flags->quiet, "nothing on stderr but errors");
  flags->files.declare(app);
  flags->device.declare(app);
  return [flags] { return bench(*flags); };
}

}  // namespace candela::cli
