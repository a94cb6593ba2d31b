#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"

namespace candela {

enum class Profile {
  Off,
  Kernels,  ///< each dispatch, in a pass of its own: slower
  Passes,   ///< whole passes, where the adapter has timestamps: how long the device is busy
};

/// Where the shapes of kernels come from that differ in speed from GPU to GPU.
enum class Tune {
  Defaults,
  Cached,  ///< what was measured on this adapter before; measured now if it never was
  Again,   ///< measured now
};

/// Where weights from files are to lie, see WeightPlace.
enum class WeightMode {
  Auto,  ///< the file's pages, else host memory, where host and device share it; else a copy
  Copy,  ///< in device memory
  Host,  ///< in host memory, also on a device that has memory of its own
  Map,   ///< in the file's pages, also on a device that has memory of its own
};

/// How to open a WebGPU device.
struct WgpuOptions {
  /// "auto" (Dawn, then wgpu-native), "dawn", "wgpu-native" or a path to a library. Empty: the
  /// environment variable CANDELA_WEBGPU_LIB, else "auto".
  std::string library;
  /// Index in the order of `candela devices`; -1: a real GPU if there is one, else the first.
  int adapter = -1;
  /// Validation and robustness on. Fast mode switches robustness and zeroed workgroup memory off.
  bool checked = false;
  /// Smaller than the adapter's own limit, to test segmentation; 0: the adapter's.
  uint64_t max_binding_bytes = 0;
  /// Ask for the smallest limits the WebGPU specification allows.
  bool minimum_limits = false;
  /// Refuse allocations beyond this many bytes; 0: no budget.
  uint64_t memory_budget = 0;
  /// Folder where every dispatch is saved for replay; empty: off.
  std::string record;
  /// What to measure with timestamp queries.
  Profile profile = Profile::Off;
  Tune tune = Tune::Defaults;
  /// Shapes of kernels that are set instead, the others being the defaults:
  /// "NAME=VALUE,NAME=VALUE".
  std::string shapes;
  /// Of matrix products with many rows (prefill, encoders); few rows are always exact.
  Precision precision = Precision::Exact;
  WeightMode weights = WeightMode::Auto;
};

/// One adapter as `candela devices` lists it.
struct AdapterInfo {
  std::string library;  ///< "dawn" or "wgpu-native"
  std::string library_version;
  int index = 0;
  std::string name, vendor, architecture, driver, backend;
  bool software = false;
  std::string refusal;  ///< why it cannot be used; empty if it can
  Limits limits;
};

/// One dispatch of a recording, run again.
struct ReplayedDispatch {
  std::string kernel;
  uint64_t bytes = 0;      ///< that it wrote
  uint64_t different = 0;  ///< of these, not what the recording holds
};

/// A cheap handle to a backend; copies share it.
class Device {
 public:
  /// @param threads  0: all cores
  /// @param onednn   who multiplies in the fast class: "off" (own loops), "on" (oneDNN), the path
  ///                 of a oneDNN library, or "auto" (oneDNN where the processor has AMX and the
  ///                 library is found)
  /// @throws Unavailable  if oneDNN is asked for and cannot be used
  static Device cpu(int threads = 0,
                    Precision precision = Precision::Exact,
                    const std::string& onednn = "auto");
  /// @throws Unavailable with the reason: no library, no adapter, another ABI.
  static Device wgpu(const WgpuOptions& options = {});
  /// Every adapter of every library that can be opened.
  static std::vector<AdapterInfo> adapters(const WgpuOptions& options = {});
  /// WebGPU libraries that would be tried, best first, with the package they are from where that is
  /// known. Opens none. @throws Unavailable
  static std::vector<std::string> libraries();

  DeviceKind kind() const { return backend_->kind(); }
  std::string name() const { return backend_->name(); }
  const Limits& limits() const { return backend_->limits(); }
  Counters& counters() const { return backend_->counters(); }
  void synchronize() const { backend_->synchronize(); }
  Backend& backend() const { return *backend_; }
  /// Runs every dispatch of a recording (WgpuOptions::record) again, from the operands it saved.
  /// @throws Unsupported (not a WebGPU device), Io, CorruptData naming the file
  std::vector<ReplayedDispatch> replay(const std::string& folder) const;

  bool operator==(const Device& other) const { return backend_ == other.backend_; }

  explicit Device(std::shared_ptr<Backend> backend) : backend_(std::move(backend)) {}

 private:
  std::shared_ptr<Backend> backend_;
};

}  // namespace candela
