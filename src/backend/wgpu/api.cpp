#include "backend/wgpu/api.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>
#include <span>
#include <system_error>

#include "base/error.h"
#include "base/shared_library.h"

namespace candela::wgpu {
namespace {

namespace fs = std::filesystem;

constexpr const char* kDawnNames[] = {"liblitert-lm.so", "libwebgpu_dawn.so",
                                      "libwebgpu_dawn.dylib"};
constexpr const char* kNativeNames[] = {"libwgpu_native-release.so", "libwgpu_native.so",
                                        "libwgpu_native.dylib"};
constexpr const char* kTested =
    "candela is tested with litert-lm-api 0.18.1 (Dawn) and wgpu 0.32.0 (wgpu-native 29)";

/// What this process opened. The libraries hold threads and drivers, so that they are never closed
/// and cannot live side by side: this is state of the process by nature.
struct Opened {
  std::mutex mutex;
  std::vector<std::unique_ptr<Api>> apis;
  const Api* claimed = nullptr;
};

Opened& opened() {
  static Opened instance;
  return instance;
}

/// The first library of these names; where several folders hold one, the nearest to the program.
void add_candidate(std::span<const char* const> names, std::vector<std::string>& out) {
  const std::vector<std::string> found = find_libraries("webgpu", names);
  if (!found.empty()) {
    out.push_back(found.front());
  }
}

/// What scripts/setup wrote beside the library: the package it is from. Empty for a user's own.
std::string package_of(fs::path library) {
  std::ifstream file(library.replace_extension(".version"));
  std::string line;
  std::getline(file, line);
  return line;
}

std::string version_of(const Api& api) {
  if (api.GetVersion == nullptr) {
    // Dawn states no version.
    const std::string package = package_of(api.path);
    std::error_code error;
    return package.empty()
               ? fmt::format("Dawn ({}, {} bytes)", fs::path(api.path).filename().string(),
                             fs::file_size(api.path, error))
               : fmt::format("Dawn ({})", package);
  }
  const uint32_t number = api.GetVersion();
  return fmt::format("wgpu-native {}.{}.{}.{}", number >> 24, (number >> 16) & 255u,
                     (number >> 8) & 255u, number & 255u);
}

std::unique_ptr<Api> load(const std::string& path) {
  std::string reason;
  void* library = open_shared_library(path, reason);
  if (library == nullptr) {
    fail(ErrorKind::Unavailable, Subject::Device,
         "The WebGPU library {} cannot be opened: {}. Run scripts/setup, or name another one with "
         "--webgpu.",
         path, reason);
  }
  auto api = std::make_unique<Api>();
  api->path = path;
#define CANDELA_WGPU_RESOLVE(name) resolve(library, "wgpu" #name, api->name);
  CANDELA_WGPU_OPTIONAL_FUNCTIONS(CANDELA_WGPU_RESOLVE)
  CANDELA_WGPU_RESOLVE(AdapterPropertiesSubgroupMatrixConfigsFreeMembers)
  CANDELA_WGPU_FUNCTIONS(CANDELA_WGPU_RESOLVE)
#undef CANDELA_WGPU_RESOLVE
  api->library = api->DevicePoll != nullptr ? Library::Native : Library::Dawn;
  api->version = version_of(*api);
#define CANDELA_WGPU_REQUIRE(name)                                                                \
  if (api->name == nullptr) {                                                                     \
    fail(ErrorKind::Unavailable, Subject::Device,                                                 \
         "The WebGPU library {} ({}) lacks the function {}, so its interface is not the one "     \
         "candela was built for; {}. Run scripts/setup or choose another library with --webgpu.", \
         path, api->version, "wgpu" #name, kTested);                                              \
  }
  CANDELA_WGPU_FUNCTIONS(CANDELA_WGPU_REQUIRE)
#undef CANDELA_WGPU_REQUIRE
  if (api->GetVersion != nullptr && (api->GetVersion() >> 24) < 27u) {
    fail(ErrorKind::Unavailable, Subject::Device,
         "The WebGPU library {} is {}, whose interface is older than the one candela was built "
         "for; {}. Run scripts/setup or choose another library with --webgpu.",
         path, api->version, kTested);
  }
  if (api->SetLogLevel != nullptr) {
    api->SetLogLevel(WGPULogLevel_Off);  // errors reach us through scopes and callbacks
  }
  return api;
}

}  // namespace

std::string library_choice(const std::string& choice) {
  if (!choice.empty()) {
    return choice;
  }
  const char* environment = std::getenv("CANDELA_WEBGPU_LIB");
  return environment != nullptr && *environment != '\0' ? environment : "auto";
}

std::vector<std::string> library_candidates(const std::string& choice) {
  const std::string wanted = library_choice(choice);
  std::vector<std::string> found;
  if (wanted == "auto" || wanted == "dawn") {
    add_candidate(kDawnNames, found);
  }
  if (wanted == "auto" || wanted == "wgpu-native") {
    add_candidate(kNativeNames, found);
  }
  if (wanted != "auto" && wanted != "dawn" && wanted != "wgpu-native") {
    std::error_code error;
    if (!fs::exists(wanted, error)) {
      fail(ErrorKind::Unavailable, Subject::Device,
           "There is no WebGPU library at {}; give auto, dawn, wgpu-native or the path of a "
           "library.",
           wanted);
    }
    found.push_back(wanted);
  }
  if (found.empty()) {
    fail(ErrorKind::Unavailable, Subject::Device,
         "No WebGPU library ({}) lies beside the program, in ../lib or in .deps/webgpu/lib; run "
         "scripts/setup, or name one with --webgpu PATH.",
         wanted);
  }
  return found;
}

std::vector<std::string> library_packages(const std::string& choice) {
  std::vector<std::string> lines;
  for (const std::string& path : library_candidates(choice)) {
    const std::string package = package_of(path);
    lines.push_back(package.empty() ? path : fmt::format("{} ({})", path, package));
  }
  return lines;
}

const Api& open_library(const std::string& path) {
  std::error_code error;
  const fs::path real = fs::canonical(path, error);
  const std::string name = error ? path : real.string();
  Opened& state = opened();
  const std::lock_guard lock(state.mutex);
  for (const auto& api : state.apis) {
    if (api->path == name) {
      return *api;
    }
  }
  state.apis.push_back(load(name));
  return *state.apis.back();
}

void claim_library(const Api& api) {
  Opened& state = opened();
  const std::lock_guard lock(state.mutex);
  if (state.claimed != nullptr && state.claimed != &api) {
    fail(ErrorKind::Unsupported, Subject::Device,
         "This process already uses the WebGPU library {}, so {} cannot be used beside it; start "
         "another process for the second library.",
         state.claimed->path, api.path);
  }
  state.claimed = &api;
}

const Api* claimed_library() {
  Opened& state = opened();
  const std::lock_guard lock(state.mutex);
  return state.claimed;
}

}  // namespace candela::wgpu
