#pragma once

#include <webgpu.h>
#include <wgpu.h>

#include <string>
#include <string_view>
#include <vector>

namespace candela::wgpu {

// clang-format off
// Every function of webgpu.h that candela calls. Absent on purpose: those that wgpu-native exports
// but aborts in (labels, WaitAny, async pipelines, GetCompilationInfo, GetMapState, ...).
#define CANDELA_WGPU_FUNCTIONS(X) \
  X(CreateInstance) \
  X(InstanceRequestAdapter) \
  X(InstanceProcessEvents) \
  X(InstanceRelease) \
  X(AdapterGetFeatures) \
  X(AdapterGetInfo) \
  X(AdapterGetLimits) \
  X(AdapterHasFeature) \
  X(AdapterRequestDevice) \
  X(AdapterRelease) \
  X(AdapterInfoFreeMembers) \
  X(DeviceCreateBindGroup) \
  X(DeviceCreateBindGroupLayout) \
  X(DeviceCreateBuffer) \
  X(DeviceCreateCommandEncoder) \
  X(DeviceCreateComputePipeline) \
  X(DeviceCreatePipelineLayout) \
  X(DeviceCreateQuerySet) \
  X(DeviceCreateShaderModule) \
  X(DeviceDestroy) \
  X(DeviceGetLimits) \
  X(DeviceGetQueue) \
  X(DeviceHasFeature) \
  X(DevicePushErrorScope) \
  X(DevicePopErrorScope) \
  X(DeviceRelease) \
  X(BindGroupRelease) \
  X(BindGroupLayoutRelease) \
  X(PipelineLayoutRelease) \
  X(BufferGetConstMappedRange) \
  X(BufferGetMappedRange) \
  X(BufferMapAsync) \
  X(BufferUnmap) \
  X(BufferRelease) \
  X(CommandBufferRelease) \
  X(CommandEncoderBeginComputePass) \
  X(CommandEncoderCopyBufferToBuffer) \
  X(CommandEncoderFinish) \
  X(CommandEncoderResolveQuerySet) \
  X(CommandEncoderRelease) \
  X(ComputePassEncoderDispatchWorkgroups) \
  X(ComputePassEncoderDispatchWorkgroupsIndirect) \
  X(ComputePassEncoderEnd) \
  X(ComputePassEncoderSetBindGroup) \
  X(ComputePassEncoderSetPipeline) \
  X(ComputePassEncoderRelease) \
  X(ComputePipelineRelease) \
  X(QuerySetRelease) \
  X(QueueOnSubmittedWorkDone) \
  X(QueueSubmit) \
  X(QueueWriteBuffer) \
  X(QueueRelease) \
  X(ShaderModuleRelease) \
  X(SupportedFeaturesFreeMembers)

// Not required: null in a library that lacks them. wgpu-native aborts in the first.
#define CANDELA_WGPU_OPTIONAL_FUNCTIONS(X) \
  X(InstanceHasWGSLLanguageFeature) \
  X(DevicePoll) \
  X(GetVersion) \
  X(SetLogLevel) \
  X(InstanceEnumerateAdapters) \
  X(DeviceCreateShaderModuleTrusted) \
  X(QueueGetTimestampPeriod)
// clang-format on

enum class Library { Dawn, Native };

/// Dawn's own numbers, which no common header has. Checked with the Dawn of October 2026.
namespace dawn {
inline constexpr auto kTogglesDescriptor = static_cast<WGPUSType>(0x0005000A);
inline constexpr auto kImplicitSynchronization = static_cast<WGPUFeatureName>(0x00050004);
inline constexpr auto kSubgroupMatrix = static_cast<WGPUFeatureName>(0x00050034);
inline constexpr auto kHostMappedPointer = static_cast<WGPUFeatureName>(0x0005000F);
inline constexpr auto kHostMappedDescriptor = static_cast<WGPUSType>(0x00050012);

struct Toggles {
  WGPUChainedStruct chain{};
  size_t enabled_count = 0;
  const char* const* enabled = nullptr;
  size_t disabled_count = 0;
  const char* const* disabled = nullptr;
};

inline constexpr auto kMatrixConfigsInfo = static_cast<WGPUSType>(0x0005003B);
/// The language feature that makes pieces of workgroup memory typed views; its number moved.
inline constexpr WGPUWGSLLanguageFeatureName kBufferViews[] = {
    static_cast<WGPUWGSLLanguageFeatureName>(0x0000000C),
    static_cast<WGPUWGSLLanguageFeatureName>(0x0005000B)};

/// Chained to an adapter's info: sizes of subgroup matrices. Each takes five numbers (component
/// type, result type, rows, columns, inner), in newer libraries two more.
struct MatrixConfigs {
  WGPUChainedStruct chain{};
  size_t count = 0;
  const uint32_t* numbers = nullptr;
};

/// Chained to a buffer's descriptor: the buffer is this memory. `dispose` is called once, when the
/// device no longer needs it.
struct HostMapped {
  WGPUChainedStruct chain{};
  void* pointer = nullptr;
  void (*dispose)(void* user) = nullptr;
  void* user = nullptr;
};
}  // namespace dawn

/// One opened WebGPU library: its functions and what it is. Stays open until the program ends.
struct Api {
#define CANDELA_WGPU_MEMBER(name) decltype(&wgpu##name) name = nullptr;
  CANDELA_WGPU_FUNCTIONS(CANDELA_WGPU_MEMBER)
  CANDELA_WGPU_OPTIONAL_FUNCTIONS(CANDELA_WGPU_MEMBER)
#undef CANDELA_WGPU_MEMBER
  void (*AdapterPropertiesSubgroupMatrixConfigsFreeMembers)(dawn::MatrixConfigs) = nullptr;

  Library library = Library::Dawn;
  std::string path;
  std::string version;

  bool is_dawn() const { return library == Library::Dawn; }
  const char* name() const { return is_dawn() ? "dawn" : "wgpu-native"; }
};

/// What the user asked for, resolved to names of files to try, best first.
/// @param choice "auto", "dawn", "wgpu-native" or a path; empty: CANDELA_WEBGPU_LIB, else "auto".
std::vector<std::string> library_candidates(const std::string& choice);

/// The same with the packages that the set-up took them from, without opening any.
std::vector<std::string> library_packages(const std::string& choice);

/// "auto" and the like after the environment is asked.
std::string library_choice(const std::string& choice);

/// Opens a library, or returns it if it is open already.
/// @throws Unavailable  The file is not a WebGPU library or lacks a function (another ABI).
const Api& open_library(const std::string& path);

/// Keeps this process to one library: called when a device of `api` is made.
/// @throws Unsupported  A device of another library was made before.
void claim_library(const Api& api);
/// The library that this process is kept to, or null.
const Api* claimed_library();

inline WGPUStringView view_of(std::string_view text) {
  return {text.data(), text.size()};
}
inline std::string to_string(WGPUStringView text) {
  if (text.data == nullptr) {
    return {};
  }
  return text.length == WGPU_STRLEN ? std::string(text.data) : std::string(text.data, text.length);
}

/// Owns one WebGPU object.
template <typename T>
class Handle {
 public:
  Handle() = default;
  Handle(T object, void (*release)(T)) : object_(object), release_(release) {}
  Handle(Handle&& other) noexcept { swap(other); }
  Handle& operator=(Handle&& other) noexcept {
    Handle(std::move(other)).swap(*this);
    return *this;
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  ~Handle() {
    if (object_ != nullptr) {
      release_(object_);
    }
  }

  T get() const { return object_; }
  explicit operator bool() const { return object_ != nullptr; }

 private:
  void swap(Handle& other) noexcept {
    std::swap(object_, other.object_);
    std::swap(release_, other.release_);
  }

  T object_ = nullptr;
  void (*release_)(T) = nullptr;
};

}  // namespace candela::wgpu
