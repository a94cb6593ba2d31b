#include "backend/device.h"

#include "backend/cpu/cpu_backend.h"
#include "backend/wgpu/adapter.h"
#include "backend/wgpu/wgpu_backend.h"
#include "base/error.h"

namespace candela {

Device Device::cpu(int threads) {
  return Device(make_cpu_backend(threads));
}

Device Device::wgpu(const WgpuOptions& options) {
  return Device(std::make_shared<wgpu::WgpuBackend>(options));
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

}  // namespace candela
