#pragma once

#include <string>
#include <vector>

#include "backend/device.h"
#include "backend/wgpu/api.h"

namespace candela::wgpu {

/// An instance of a library with candela's toggles.
Handle<WGPUInstance> make_instance(const Api& api, bool checked);

/// Dawn's switches, to be chained to instance, adapter request and device.
/// Fast mode: no robustness, no zeroed workgroup memory.
dawn::Toggles dawn_toggles(bool checked);

/// The feature by which buffers are made of host memory.
WGPUFeatureName host_memory_feature(const Api& api);

struct FoundAdapter {
  Handle<WGPUAdapter> handle;
  AdapterInfo info;
  uint32_t vendor_id = 0, device_id = 0;
};

/// Adapters of one library, real GPUs before software. Dawn shows only what it selects for the
/// power preferences and the fallback.
/// @param reason  set to the library's words if there is none
std::vector<FoundAdapter> find_adapters(const Api& api,
                                        WGPUInstance instance,
                                        bool checked,
                                        std::string& reason);

/// The adapters of a library, listed in a child process unless the library is in use here: a
/// driver that crashes, and the threads of a second library, stay outside of this process.
std::vector<AdapterInfo> list_adapters(const std::string& library_path, bool checked);

}  // namespace candela::wgpu
