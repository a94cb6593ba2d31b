#include "backend/wgpu/context.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>
#include <vector>

#include "backend/wgpu/adapter.h"
#include "backend/wgpu/pipeline.h"
#include "backend/wgpu/pool.h"
#include "backend/wgpu/shader.h"
#include "backend/wgpu/stream.h"
#include "base/error.h"
#include "base/log.h"

namespace candela::wgpu {
namespace {

constexpr log::Area kLog{"wgpu"};
constexpr uint32_t kIntelVendor = 0x8086;
constexpr auto kNativeSubgroup = static_cast<WGPUFeatureName>(WGPUNativeFeature_Subgroup);

void on_uncaptured(
    const WGPUDevice*, WGPUErrorType type, WGPUStringView message, void* user, void*) {
  static_cast<ErrorSlot*>(user)->report(type, to_string(message), "running recorded work");
}

void on_lost(
    const WGPUDevice*, WGPUDeviceLostReason reason, WGPUStringView message, void* user, void*) {
  if (reason != WGPUDeviceLostReason_CallbackCancelled) {
    static_cast<ErrorSlot*>(user)->report_lost(to_string(message));
  }
}

struct DeviceReply {
  bool done = false;
  WGPUDevice device = nullptr;
  std::string message;
};

void on_device(
    WGPURequestDeviceStatus, WGPUDevice device, WGPUStringView message, void* user, void*) {
  auto* reply = static_cast<DeviceReply*>(user);
  reply->device = device;
  reply->message = to_string(message);
  reply->done = true;
}

std::vector<WGPUFeatureName> wanted_features(const Api& api,
                                             WGPUAdapter adapter,
                                             WeightMode weights) {
  std::vector<WGPUFeatureName> wanted = {WGPUFeatureName_ShaderF16, WGPUFeatureName_TimestampQuery};
  if (weights != WeightMode::Copy) {
    wanted.push_back(host_memory_feature(api));
  }
  if (api.is_dawn()) {
    // Without implicit synchronisation, threads that submit crash Dawn.
    wanted.insert(wanted.end(), {WGPUFeatureName_Subgroups, dawn::kSubgroupMatrix,
                                 dawn::kImplicitSynchronization});
  } else {
    wanted.push_back(kNativeSubgroup);
  }
  std::erase_if(wanted, [&](WGPUFeatureName feature) {
    return api.AdapterHasFeature(adapter, feature) == 0;
  });
  return wanted;
}

}  // namespace

Context::Context(const WgpuOptions& options) : options_(options) {
  open();
  queue_ = {api_->DeviceGetQueue(device_.get()), api_->QueueRelease};
  shaders_ = std::make_unique<Shaders>(api_->is_dawn());
  pipelines_ = std::make_unique<Pipelines>(*this);
  pool_ = std::make_shared<Pool>(*this);
  if (!api_->is_dawn() && api_->DeviceHasFeature(device_.get(), kNativeSubgroup) != 0) {
    measure_subgroups();
  }
  const Limits& limits = adapter_.limits;
  log::info(kLog, "device opened",
            {{"library", api_->version},
             {"adapter", adapter_.name},
             {"checked", options_.checked},
             {"f16", limits.shader_f16},
             {"subgroup_min", limits.subgroup_min},
             {"subgroup_max", limits.subgroup_max},
             {"max_binding", limits.max_binding_bytes}});
}

Context::~Context() {
  pool_.reset();
  pipelines_.reset();
}

void Context::open() {
  const std::vector<std::string> candidates = library_candidates(options_.library);
  std::string reasons;
  for (const std::string& path : candidates) {
    std::string reason;
    if (try_library(path, reason)) {
      return;
    }
    reasons += fmt::format("{}{}: {}", reasons.empty() ? "" : "; ", path, reason);
    log::warn(kLog, "library not used", {{"path", path}, {"reason", reason}});
  }
  fail(ErrorKind::Unavailable, Subject::Device,
       "No WebGPU device can be opened ({}). Install a Vulkan driver, choose another library with "
       "--webgpu, or use the CPU backend.",
       reasons);
}

bool Context::try_library(const std::string& path, std::string& reason) {
  try {
    const Api* claimed = claimed_library();
    api_ = &open_library(path);
    if (claimed != nullptr && claimed != api_ && library_choice(options_.library) == "auto") {
      reason = "this process already uses the other library";
      return false;
    }
    instance_ = make_instance(*api_, options_.checked);
    auto adapters = find_adapters(*api_, instance_.get(), options_.checked, reason);
    if (adapters.empty()) {
      return false;
    }
    const size_t index = options_.adapter < 0 ? 0 : static_cast<size_t>(options_.adapter);
    if (index >= adapters.size()) {
      reason =
          fmt::format("it shows {} adapters, and number {} was asked for", adapters.size(), index);
      return false;
    }
    FoundAdapter& chosen = adapters[index];
    if (!chosen.info.refusal.empty()) {
      reason = chosen.info.refusal;
      return false;
    }
    claim_library(*api_);
    adapter_ = chosen.info;
    request_device(chosen.handle.get());
    if (chosen.vendor_id == kIntelVendor && !api_->is_dawn()) {
      adapter_.limits.subgroup_max = UINT32_MAX;  // sizes differ from shader to shader
    }
    read_limits(chosen.handle.get());
    return true;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::Unavailable) {
      throw;
    }
    reason = error.what();
    return false;
  }
}

void Context::request_device(WGPUAdapter adapter) {
  const std::vector<WGPUFeatureName> features = wanted_features(*api_, adapter, options_.weights);
  WGPULimits limits = WGPU_LIMITS_INIT;
  api_->AdapterGetLimits(adapter, &limits);
  limits.nextInChain = nullptr;
  dawn::Toggles toggles = dawn_toggles(options_.checked);
  WGPUDeviceDescriptor descriptor{};
  descriptor.nextInChain = api_->is_dawn() ? &toggles.chain : nullptr;
  descriptor.label = view_of("candela");
  descriptor.requiredFeatureCount = features.size();
  descriptor.requiredFeatures = features.data();
  descriptor.requiredLimits = options_.minimum_limits ? nullptr : &limits;
  descriptor.deviceLostCallbackInfo.mode = WGPUCallbackMode_AllowProcessEvents;
  descriptor.deviceLostCallbackInfo.callback = on_lost;
  descriptor.deviceLostCallbackInfo.userdata1 = &errors_;
  descriptor.uncapturedErrorCallbackInfo.callback = on_uncaptured;
  descriptor.uncapturedErrorCallbackInfo.userdata1 = &errors_;

  DeviceReply reply;
  WGPURequestDeviceCallbackInfo callback{};
  callback.mode = WGPUCallbackMode_AllowProcessEvents;
  callback.callback = on_device;
  callback.userdata1 = &reply;
  api_->AdapterRequestDevice(adapter, &descriptor, callback);
  while (!reply.done) {
    api_->InstanceProcessEvents(instance_.get());
  }
  if (reply.device == nullptr) {
    fail(ErrorKind::Unavailable, Subject::Device, "The adapter {} gives no device: {}.",
         adapter_.name, reply.message);
  }
  device_ = {reply.device, api_->DeviceRelease};
}

void Context::read_limits(WGPUAdapter) {
  WGPULimits raw = WGPU_LIMITS_INIT;
  api_->DeviceGetLimits(device_.get(), &raw);
  Limits& limits = adapter_.limits;
  limits.max_binding_bytes = raw.maxStorageBufferBindingSize;
  limits.max_buffer_bytes = raw.maxBufferSize;
  limits.max_workgroup_bytes = raw.maxComputeWorkgroupStorageSize;
  limits.max_workgroup_threads = raw.maxComputeInvocationsPerWorkgroup;
  // A buffer is bound whole, and its size is a multiple of 16.
  uint64_t binding = std::min(limits.max_binding_bytes, limits.max_buffer_bytes);
  if (options_.max_binding_bytes != 0) {
    binding = std::min(binding, std::max<uint64_t>(options_.max_binding_bytes, 256));
  }
  limits.max_binding_bytes = binding / 16 * 16;
}

void Context::measure_subgroups() {
  const bool varies = adapter_.limits.subgroup_max == UINT32_MAX;
  adapter_.limits.subgroup_max = 0;
  if (varies) {
    return;
  }
  Stream stream(*this);
  const BufferPtr buffer = pool_->acquire(16, true, "subgroup size");
  const uint32_t unused = 0;
  stream.dispatch({"subgroup_size"}, {1}, unused, {{buffer, true}});
  uint32_t size = 0;
  stream.download({buffer}, 0, std::as_writable_bytes(std::span(&size, 1)));
  adapter_.limits.subgroup_min = adapter_.limits.subgroup_max = size;
}

// --- Error scopes ---------------------------------------------------------------------------

struct Context::Scope {
  bool done = false;
  WGPUErrorType type = WGPUErrorType_NoError;
  std::string message;

  static void on_pop(WGPUPopErrorScopeStatus status,
                     WGPUErrorType type,
                     WGPUStringView message,
                     void* user,
                     void*) {
    auto* scope = static_cast<Scope*>(user);
    scope->type = status == WGPUPopErrorScopeStatus_Success ? type : WGPUErrorType_NoError;
    scope->message = to_string(message);
    scope->done = true;
  }
};

std::string Context::run_scoped(const std::function<void()>& create, WGPUErrorType& type) {
  errors_.check();
  // wgpu-native knows no out-of-memory scope: it reports that as a validation error.
  const int count = api_->is_dawn() ? 2 : 1;
  if (count == 2) {
    api_->DevicePushErrorScope(device_.get(), WGPUErrorFilter_OutOfMemory);
  }
  api_->DevicePushErrorScope(device_.get(), WGPUErrorFilter_Validation);
  create();
  std::string message;
  type = WGPUErrorType_NoError;
  for (int i = 0; i < count; ++i) {
    Scope scope;
    WGPUPopErrorScopeCallbackInfo callback{};
    callback.mode = WGPUCallbackMode_AllowProcessEvents;
    callback.callback = Scope::on_pop;
    callback.userdata1 = &scope;
    api_->DevicePopErrorScope(device_.get(), callback);
    wait_for(scope.done);
    if (type == WGPUErrorType_NoError && scope.type != WGPUErrorType_NoError) {
      type = scope.type;
      message = scope.message;
    }
  }
  return message;
}

void Context::scoped(const std::function<void()>& create, const std::string& doing) {
  WGPUErrorType type = WGPUErrorType_NoError;
  const std::string message = run_scoped(create, type);
  if (type != WGPUErrorType_NoError) {
    throw translate(type, message, doing);
  }
}

bool Context::scoped_quietly(const std::function<void()>& create, const std::string& doing) {
  WGPUErrorType type = WGPUErrorType_NoError;
  const std::string message = run_scoped(create, type);
  if (type != WGPUErrorType_NoError) {
    errors_.report(type, message, doing);
  }
  return type == WGPUErrorType_NoError;
}

// --- Waiting --------------------------------------------------------------------------------

void Context::pump() {
  if (api_->DevicePoll != nullptr) {
    api_->DevicePoll(device_.get(), 0, nullptr);
  }
  api_->InstanceProcessEvents(instance_.get());
}

void Context::wait_for(const bool& done) {
  const auto start = std::chrono::steady_clock::now();
  // Results of a GPU come within microseconds; a software device needs our core to compute.
  const auto spin = std::chrono::microseconds(limits().software ? 20 : 2000);
  const volatile bool& flag = done;
  while (!flag) {
    pump();
    if (!flag && std::chrono::steady_clock::now() - start > spin) {
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
  }
}

void Context::wait_idle() {
  if (api_->DevicePoll != nullptr) {
    api_->DevicePoll(device_.get(), 1, nullptr);
    return;
  }
  bool done = false;
  WGPUQueueWorkDoneCallbackInfo callback{};
  callback.mode = WGPUCallbackMode_AllowProcessEvents;
  callback.userdata1 = &done;
  callback.callback = [](WGPUQueueWorkDoneStatus, WGPUStringView, void* user, void*) {
    *static_cast<bool*>(user) = true;
  };
  api_->QueueOnSubmittedWorkDone(queue_.get(), callback);
  wait_for(done);
}

}  // namespace candela::wgpu
