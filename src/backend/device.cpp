#include "backend/device.h"

#include <algorithm>
#include <filesystem>

#include "backend/cpu/cpu_backend.h"
#include "backend/wgpu/adapter.h"
#include "backend/wgpu/pool.h"
#include "backend/wgpu/record.h"
#include "backend/wgpu/wgpu_backend.h"
#include "base/error.h"

namespace candela {

Device Device::cpu(int threads, Precision precision, const std::string& onednn) {
  return Device(make_cpu_backend(threads, precision, onednn));
}

Device Device::wgpu(const WgpuOptions& options) {
  const auto backend = std::make_shared<wgpu::WgpuBackend>(options);
  if (!options.shapes.empty()) {
    backend->set_tuning(wgpu::parse_tuning(options.shapes));
  } else if (options.tune != Tune::Defaults && !backend->limits().software &&
             options.record.empty()) {
    const std::string file = wgpu::tuning_file(*backend);
    wgpu::Tuning tuning;
    if (options.tune == Tune::Again || !wgpu::read_tuning(file, tuning)) {
      try {
        tuning = wgpu::measure_tuning(*backend);
        wgpu::write_tuning(file, tuning);
      } catch (const Error& error) {
        // Too little memory for the samples: the defaults are good.
        if (error.kind() != ErrorKind::OutOfMemory && error.kind() != ErrorKind::Unsupported) {
          throw;
        }
      }
      backend->context().pool().trim();
      backend->take_profile();
    }
    backend->set_tuning(tuning);
  }
  return Device(backend);
}

std::vector<AdapterInfo> Device::adapters(const WgpuOptions& options) {
  std::vector<AdapterInfo> all;
  for (const std::string& path : wgpu::library_candidates(options.library)) {
    for (AdapterInfo& adapter : wgpu::list_adapters(path, options.checked)) {
      all.push_back(std::move(adapter));
    }
  }
  return all;
}

std::vector<std::string> Device::libraries() {
  return wgpu::library_packages("");
}

std::vector<ReplayedDispatch> Device::replay(const std::string& folder) const {
  auto* backend = dynamic_cast<wgpu::WgpuBackend*>(backend_.get());
  if (backend == nullptr) {
    fail(ErrorKind::Unsupported, Subject::Usage,
         "Only WebGPU devices replay recordings, this one is {}; use --device wgpu.", name());
  }
  std::vector<std::filesystem::path> steps;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (entry.is_directory()) {
      steps.push_back(entry.path());
    }
  }
  if (error || steps.empty()) {
    fail(ErrorKind::NotFound, Subject::Input, "{} holds no recorded dispatches.", folder);
  }
  std::ranges::sort(steps);
  std::vector<ReplayedDispatch> results;
  for (const std::filesystem::path& step : steps) {
    const wgpu::ReplayResult one =
        wgpu::replay(backend->context(), backend->stream(), step.string());
    results.push_back({one.kernel, one.bytes, one.different});
  }
  return results;
}

}  // namespace candela
