#include "backend/wgpu/adapter.h"

#include <algorithm>
#include <array>
#include <cstdlib>

#include "backend/wgpu/stderr_capture.h"
#include "base/error.h"
#include "base/log.h"

namespace candela::wgpu {
namespace {

constexpr log::Area kLog{"wgpu"};

// allow_unsafe_apis and the memory model are what subgroup matrices need; the third gives f16, and
// so tensor cores, on NVIDIA.
constexpr const char* kEnabled[] = {
    "allow_unsafe_apis",  "use_vulkan_memory_model", "vulkan_enable_f16_on_nvidia",
    "disable_robustness", "disable_workgroup_init",  "disable_polyfills_on_integer_div_and_mod"};
constexpr size_t kEnabledWhenChecked = 3;
// Quantised timestamps come in steps of 65 us.
constexpr const char* kDisabled[] = {"timestamp_quantization"};

#if defined(__linux__)
constexpr WGPUBackendType kBackend = WGPUBackendType_Vulkan;
#else
constexpr WGPUBackendType kBackend = WGPUBackendType_Undefined;
#endif

const char* backend_name(WGPUBackendType type) {
  switch (type) {
    case WGPUBackendType_Vulkan:
      return "Vulkan";
    case WGPUBackendType_Metal:
      return "Metal";
    case WGPUBackendType_D3D12:
      return "D3D12";
    case WGPUBackendType_OpenGL:
    case WGPUBackendType_OpenGLES:
      return "OpenGL";
    default:
      return "unknown";
  }
}

struct AdapterReply {
  bool done = false;
  WGPUAdapter adapter = nullptr;
  std::string message;
};

void on_adapter(
    WGPURequestAdapterStatus, WGPUAdapter adapter, WGPUStringView message, void* user, void*) {
  auto* reply = static_cast<AdapterReply*>(user);
  reply->adapter = adapter;
  reply->message = to_string(message);
  reply->done = true;
}

Handle<WGPUAdapter> request_adapter(const Api& api,
                                    WGPUInstance instance,
                                    const WGPURequestAdapterOptions& options,
                                    std::string& reason) {
  AdapterReply reply;
  WGPURequestAdapterCallbackInfo callback{};
  callback.mode = WGPUCallbackMode_AllowProcessEvents;
  callback.callback = on_adapter;
  callback.userdata1 = &reply;
  api.InstanceRequestAdapter(instance, &options, callback);
  while (!reply.done) {
    api.InstanceProcessEvents(instance);
  }
  if (reply.adapter == nullptr) {
    reason = reply.message;
  }
  return {reply.adapter, api.AdapterRelease};
}

/// Whether the adapter multiplies F16 matrices of 16 x 16 with sums in F32, and the library's
/// compiler knows the views of workgroup memory that our kernels keep them in.
bool has_matrices(const Api& api, WGPUInstance instance, WGPUAdapter adapter) {
  constexpr uint32_t kOurs[] = {2, 1, 16, 16, 16};  // F16, F32
  if (api.AdapterHasFeature(adapter, dawn::kSubgroupMatrix) == 0 ||
      std::none_of(std::begin(dawn::kBufferViews), std::end(dawn::kBufferViews), [&](auto feature) {
        return api.InstanceHasWGSLLanguageFeature(instance, feature) != 0;
      })) {
    return false;
  }
  dawn::MatrixConfigs configs;
  configs.chain.sType = dawn::kMatrixConfigsInfo;
  WGPUAdapterInfo info{};
  info.nextInChain = &configs.chain;
  api.AdapterGetInfo(adapter, &info);
  const auto entry = [&](size_t i, size_t length) { return configs.numbers + i * length; };
  const auto are_sizes = [&](size_t length) {
    for (size_t i = 0; i < configs.count; ++i) {
      if (!std::all_of(entry(i, length) + 2, entry(i, length) + 5,
                       [](uint32_t size) { return size >= 4 && size <= 64; })) {
        return false;
      }
    }
    return true;
  };
  const size_t length = are_sizes(5) ? 5 : 7;
  bool found = false;
  for (size_t i = 0; i < configs.count; ++i) {
    found = found || std::equal(std::begin(kOurs), std::end(kOurs), entry(i, length));
  }
  if (api.AdapterPropertiesSubgroupMatrixConfigsFreeMembers != nullptr) {
    api.AdapterPropertiesSubgroupMatrixConfigsFreeMembers(configs);
  }
  api.AdapterInfoFreeMembers(info);
  return found;
}

Limits limits_of(const Api& api,
                 WGPUInstance instance,
                 WGPUAdapter adapter,
                 const WGPUAdapterInfo& info) {
  WGPULimits raw = WGPU_LIMITS_INIT;
  api.AdapterGetLimits(adapter, &raw);
  Limits limits;
  limits.max_binding_bytes = raw.maxStorageBufferBindingSize;
  limits.max_buffer_bytes = raw.maxBufferSize;
  limits.max_workgroup_bytes = raw.maxComputeWorkgroupStorageSize;
  limits.max_workgroup_threads = raw.maxComputeInvocationsPerWorkgroup;
  limits.shader_f16 = api.AdapterHasFeature(adapter, WGPUFeatureName_ShaderF16) != 0;
  limits.captures = true;
  limits.timestamps = api.AdapterHasFeature(adapter, WGPUFeatureName_TimestampQuery) != 0;
  limits.software = info.adapterType == WGPUAdapterType_CPU;
  limits.shares_memory = limits.software || info.adapterType == WGPUAdapterType_IntegratedGPU;
  limits.binds_host_memory = api.AdapterHasFeature(adapter, host_memory_feature(api)) != 0;
  if (api.is_dawn() && api.AdapterHasFeature(adapter, WGPUFeatureName_Subgroups) != 0) {
    limits.subgroup_min = info.subgroupMinSize;
    limits.subgroup_max = info.subgroupMaxSize;
    limits.subgroup_matrix =
        std::getenv("CANDELA_NO_MATRIX_CORES") == nullptr && has_matrices(api, instance, adapter);
  }
  return limits;
}

FoundAdapter describe(const Api& api, WGPUInstance instance, Handle<WGPUAdapter> handle) {
  FoundAdapter found;
  WGPUAdapterInfo raw{};
  api.AdapterGetInfo(handle.get(), &raw);
  AdapterInfo& info = found.info;
  info.library = api.name();
  info.library_version = api.version;
  info.name = to_string(raw.device);
  info.vendor = to_string(raw.vendor);
  info.architecture = to_string(raw.architecture);
  info.driver = to_string(raw.description);
  info.backend = backend_name(raw.backendType);
  info.software = raw.adapterType == WGPUAdapterType_CPU;
  info.limits = limits_of(api, instance, handle.get(), raw);
  if (raw.backendType == WGPUBackendType_Null) {
    info.refusal = "It is the library's null device, which computes nothing.";
  }
  found.vendor_id = raw.vendorID;
  found.device_id = raw.deviceID;
  api.AdapterInfoFreeMembers(raw);
  found.handle = std::move(handle);
  return found;
}

std::vector<FoundAdapter> enumerate(const Api& api, WGPUInstance instance) {
  WGPUInstanceEnumerateAdapterOptions options{};
  options.backends = WGPUInstanceBackend_Primary;
  const size_t count = api.InstanceEnumerateAdapters(instance, &options, nullptr);
  std::vector<WGPUAdapter> raw(count);
  if (count > 0) {
    api.InstanceEnumerateAdapters(instance, &options, raw.data());
  }
  std::vector<FoundAdapter> found;
  found.reserve(raw.size());
  for (WGPUAdapter adapter : raw) {
    found.push_back(describe(api, instance, {adapter, api.AdapterRelease}));
  }
  return found;
}

std::vector<FoundAdapter> probe(const Api& api,
                                WGPUInstance instance,
                                bool checked,
                                std::string& reason) {
  dawn::Toggles toggles = dawn_toggles(checked);
  std::vector<FoundAdapter> found;
  for (int attempt = 0; attempt < 3; ++attempt) {
    WGPURequestAdapterOptions options{};
    options.nextInChain = api.is_dawn() ? &toggles.chain : nullptr;
    options.featureLevel = WGPUFeatureLevel_Core;
    options.powerPreference =
        attempt == 1 ? WGPUPowerPreference_LowPower : WGPUPowerPreference_HighPerformance;
    options.forceFallbackAdapter = attempt == 2 ? 1u : 0u;
    options.backendType = kBackend;
    std::string why;
    Handle<WGPUAdapter> handle = request_adapter(api, instance, options, why);
    if (!handle) {
      reason = reason.empty() ? why : reason;
      continue;
    }
    FoundAdapter candidate = describe(api, instance, std::move(handle));
    const bool known = std::any_of(found.begin(), found.end(), [&](const FoundAdapter& other) {
      return other.vendor_id == candidate.vendor_id && other.device_id == candidate.device_id &&
             other.info.name == candidate.info.name && other.info.driver == candidate.info.driver;
    });
    if (!known) {
      found.push_back(std::move(candidate));
    }
  }
  return found;
}

}  // namespace

dawn::Toggles dawn_toggles(bool checked) {
  dawn::Toggles toggles;
  toggles.chain.sType = dawn::kTogglesDescriptor;
  toggles.enabled_count = checked ? kEnabledWhenChecked : std::size(kEnabled);
  toggles.enabled = kEnabled;
  toggles.disabled_count = std::size(kDisabled);
  toggles.disabled = kDisabled;
  return toggles;
}

constexpr auto kNativeMappableBuffers =
    static_cast<WGPUFeatureName>(WGPUNativeFeature_MappablePrimaryBuffers);

WGPUFeatureName host_memory_feature(const Api& api) {
  return api.is_dawn() ? dawn::kHostMappedPointer : kNativeMappableBuffers;
}

Handle<WGPUInstance> make_instance(const Api& api, bool checked) {
  dawn::Toggles toggles = dawn_toggles(checked);
  WGPUInstanceDescriptor descriptor{};
  descriptor.nextInChain = api.is_dawn() ? &toggles.chain : nullptr;
  WGPUInstance instance = api.CreateInstance(&descriptor);
  if (instance == nullptr) {
    fail(ErrorKind::Unavailable, Subject::Device, "The WebGPU library {} ({}) makes no instance.",
         api.path, api.version);
  }
  return {instance, api.InstanceRelease};
}

std::vector<FoundAdapter> find_adapters(const Api& api,
                                        WGPUInstance instance,
                                        bool checked,
                                        std::string& reason) {
  StderrCapture output;
  std::vector<FoundAdapter> found = api.InstanceEnumerateAdapters != nullptr
                                        ? enumerate(api, instance)
                                        : probe(api, instance, checked, reason);
  const std::string said = output.finish();
  if (!said.empty()) {
    log::debug(kLog, "library says", {{"text", said}});
  }
  std::stable_sort(found.begin(), found.end(), [](const FoundAdapter& a, const FoundAdapter& b) {
    return a.info.software < b.info.software;
  });
  for (size_t i = 0; i < found.size(); ++i) {
    found[i].info.index = static_cast<int>(i);
  }
  if (found.empty()) {
    reason = reason.empty() ? "it finds no adapter; is a Vulkan driver installed?" : reason;
    reason += said.empty() ? "" : " (" + said + ")";
  }
  return found;
}

}  // namespace candela::wgpu
