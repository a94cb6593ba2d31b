#include "cli/bench_load.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/io_threads.h"
#include "base/mapped_file.h"
#include "cli/session.h"
#include "cli/terminal.h"
#include "engine/find_model.h"
#include "models/qwen3_omni/inventory.h"
#include "weights/random_checkpoint.h"

namespace candela::cli {

namespace {

using nlohmann::ordered_json;

constexpr uint64_t kReadBytes = UINT64_C(4) << 20;
constexpr uint64_t kShardBytes = UINT64_C(4) << 30;

/// One way of loading, bytes a second.
struct LoadRow {
  std::string state;  ///< "cold", "cached"
  double load = 0.0, disk = 0.0;
  uint64_t host_bytes = 0;  ///< by which host memory rose at most while loading
};

/// A line of /proc/self/status in bytes; 0 where there is none.
uint64_t host_memory(std::string_view name) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(name)) {
      return std::stoull(line.substr(name.size() + 1)) * 1024;
    }
  }
  return 0;
}

void reset_peak() {
  std::ofstream("/proc/self/clear_refs") << "5";
}

/// The files of a checkpoint, in the order in which they are loaded.
std::vector<std::shared_ptr<const MappedFile>> files_of(const WeightSource& source) {
  std::set<std::string> names;
  for (const WeightInfo& tensor : source.tensors()) {
    names.emplace(tensor.file);
  }
  std::vector<std::shared_ptr<const MappedFile>> files;
  files.reserve(names.size());
  for (const std::string& name : names) {
    files.push_back(MappedFile::open(name));
  }
  return files;
}

/// Takes the files out of the page cache; needs no rights, but they must not be in use.
void drop_from_cache(const std::vector<std::shared_ptr<const MappedFile>>& files) {
  for (const auto& file : files) {
    const int descriptor = ::open(file->path().c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor >= 0) {
      ::fdatasync(descriptor);
      ::posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED);
      ::close(descriptor);
    }
  }
}

/// Bytes a second of reading the files with nothing else to do, as many reads in flight as loading
/// has.
double read_rate(const std::vector<std::shared_ptr<const MappedFile>>& files) {
  IoThreads threads(IoThreads::kEnough);
  std::vector<std::future<void>> reads;
  uint64_t bytes = 0;
  const engine::Stopwatch watch;
  for (const auto& file : files) {
    for (uint64_t at = 0; at < file->size(); at += kReadBytes) {
      const HostPiece piece = file->bytes(at, std::min(kReadBytes, file->size() - at));
      reads.push_back(threads.run([&file, piece] {
        thread_local std::vector<std::byte> buffer(kReadBytes);
        file->read(piece, buffer.data());
      }));
    }
    bytes += file->size();
  }
  for (auto& read : reads) {
    read.get();
  }
  return static_cast<double>(bytes) / watch.seconds();
}

/// Memory that is already filled.
struct Filled final : HostMemory {
  std::vector<std::byte> data;

  explicit Filled(uint64_t bytes) : data(bytes) {}
  void read(HostPiece from, std::byte* to) const override {
    std::memcpy(to, from.data(), from.size());
  }
  bool has_whole_pages() const override { return false; }
};

/// Bytes a second of the way from filled host memory to where weights are put.
double copy_rate(const Device& device) {
  // More than a cache holds: a file's pages are read from memory, too.
  const uint64_t bytes = (device.limits().software ? UINT64_C(256) : UINT64_C(2048)) << 20;
  const auto filled = std::make_shared<const Filled>(bytes);
  const HostPiece pieces[] = {filled->data};
  const auto once = [&] {
    const Imported made = device.backend().import_host(pieces, filled, 4096, 2, "copy probe");
    device.synchronize();
  };
  once();  // makes the staging buffers and touches the device's memory
  const engine::Stopwatch watch;
  once();
  return static_cast<double>(bytes) / watch.seconds();
}

LoadRow measure(const std::string& state,
                const models::ModelFiles& files,
                const Device& device,
                bool quiet) {
  LoadRow row{state};
  reset_peak();
  const uint64_t before = host_memory("VmRSS");
  const engine::Stopwatch watch;
  std::unique_ptr<models::Model> model;
  {
    ProgressBar bar("loading " + state, quiet);
    model = models::load_model(files, device, [&](uint64_t done, uint64_t total) {
      throw_if_interrupted();
      bar.update(done, total);
    });
  }
  row.load = static_cast<double>(models::loaded_bytes(files)) / watch.seconds();
  const uint64_t peak = host_memory("VmHWM");
  row.host_bytes = peak > before ? peak - before : 0;
  return row;
}

const char* place_name(WeightPlace place) {
  switch (place) {
    case WeightPlace::FilePages:
      return "mapped file";
    case WeightPlace::HostMemory:
      return "host memory";
    case WeightPlace::DeviceMemory:
      break;
  }
  return "device memory";
}

/// The share of the slower of disk and copy that loading reaches.
double share(const LoadRow& row, double copy) {
  return row.load / (copy > 0.0 ? std::min(row.disk, copy) : row.disk);
}

void print(const ordered_json& out) {
  const auto rate = [](const ordered_json& value) {
    return value.get<double>() > 0.0 ? fmt::format("{:.2f} GB/s", value.get<double>() / 1e9) : "";
  };
  std::string text = fmt::format(
      "{}\n{} in {} tensors into {}\n| {:6} | {:>12} | {:>12} | {:>12} | {:>6} | {:>12} |\n",
      out["device"].get<std::string>(), engine::format_bytes(out["bytes"].get<uint64_t>()),
      out["tensors"].get<size_t>(), out["weights"].get<std::string>(), "", "load", "disk alone",
      "copy alone", "share", "host memory");
  for (const ordered_json& row : out["results"]) {
    text += fmt::format("| {:6} | {:>12} | {:>12} | {:>12} | {:>4.0f} % | {:>12} |\n",
                        row["state"].get<std::string>(), rate(row["load"]), rate(row["disk"]),
                        rate(out["copy"]), row["share"].get<double>() * 100.0,
                        engine::format_bytes(row["host_bytes"].get<uint64_t>()));
  }
  write_out(text);
}

}  // namespace

void LoadBenchFlags::declare(CLI::App& app) {
  app.add_flag("--load", load, "instead: how fast MODEL loads, cold and cached");
  app.add_option("--write-checkpoint", checkpoint,
                 "instead: write random weights of --synthetic CONFIG to this new folder")
      ->type_name("FOLDER");
  app.add_option("--layers", layers, "of the checkpoint to write; 0: as the config says")
      ->type_name("N")
      ->check(CLI::Range(0, 4096).description(""));
}

int bench_load(const std::string& model, const Device& device, bool json, bool quiet) {
  if (device.kind() == DeviceKind::Cpu) {
    fail(ErrorKind::Unsupported, Subject::Usage,
         "The CPU reads weights where the files are mapped, so there is no loading to measure; use "
         "--device wgpu.");
  }
  const models::ModelFiles files = models::open_model(engine::find_model(model));
  const auto mapped = files_of(*files.weights);
  // The text part alone is loaded; what else is in the files is read only by the disk test.
  const WeightPlace place = device.backend().weight_place();
  const double copy = place != WeightPlace::FilePages ? copy_rate(device) : 0.0;
  std::vector<LoadRow> rows;
  drop_from_cache(mapped);
  const double cold_disk = read_rate(mapped);
  drop_from_cache(mapped);
  rows.push_back(measure("cold", files, device, quiet));
  rows.back().disk = cold_disk;
  const double cached_disk = read_rate(mapped);
  rows.push_back(measure("cached", files, device, quiet));
  rows.back().disk = cached_disk;

  ordered_json out{{"schema_version", 1},
                   {"device", device.name()},
                   {"weights", place_name(place)},
                   {"bytes", models::loaded_bytes(files)},
                   {"tensors", files.weights->tensors().size()},
                   {"copy", copy},
                   {"results", ordered_json::array()}};
  for (const LoadRow& row : rows) {
    out["results"].push_back({{"state", row.state},
                              {"load", row.load},
                              {"disk", row.disk},
                              {"share", share(row, copy)},
                              {"host_bytes", row.host_bytes}});
  }
  if (json) {
    write_out(out.dump(2) + "\n");
  } else {
    print(out);
  }
  return 0;
}

int write_checkpoint(const LoadBenchFlags& flags,
                     const std::string& config,
                     uint64_t seed,
                     bool quiet) {
  models::ModelFiles files = models::open_config(config);
  if (!files.config.contains("thinker_config")) {
    fail(ErrorKind::Unsupported, Subject::Usage,
         "{} is no Qwen3-Omni config; only of those a checkpoint can be written.", config);
  }
  if (flags.layers > 0) {
    files.config["thinker_config"]["text_config"]["num_hidden_layers"] = flags.layers;
  }
  std::error_code error;
  std::filesystem::create_directories(flags.checkpoint, error);
  if (error || !std::filesystem::is_empty(flags.checkpoint, error)) {
    fail(ErrorKind::InvalidArgument, Subject::Usage,
         "{} is no new or empty folder; name one to write the checkpoint to.", flags.checkpoint);
  }
  std::vector<TensorHeader> tensors;
  for (const models::Part& part : models::omni_parts(files)) {
    for (const models::ExpectedTensor& tensor : part.tensors) {
      if (part.required) {
        tensors.push_back({tensor.name, DType::BF16, tensor.shape});
      }
    }
  }
  ProgressBar bar("writing", quiet);
  write_random_checkpoint(flags.checkpoint, tensors, kShardBytes, seed,
                          [&](uint64_t done, uint64_t total) {
                            throw_if_interrupted();
                            bar.update(done, total);
                          });
  const std::string text = files.config.dump(1);
  write_file_atomically(flags.checkpoint + "/config.json", std::as_bytes(std::span(text)));
  return 0;
}

}  // namespace candela::cli
