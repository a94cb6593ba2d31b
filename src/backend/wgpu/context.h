#pragma once

#include <functional>
#include <memory>
#include <string>

#include "backend/device.h"
#include "backend/limits.h"
#include "backend/wgpu/api.h"
#include "backend/wgpu/errors.h"

namespace candela::wgpu {

class Pool;
class Pipelines;
class Shaders;

/// The opened device: library, instance, adapter, device and queue, with everything that lives as
/// long as they do.
class Context {
 public:
  /// @throws Unavailable  no library, no adapter, no device, with the reason
  explicit Context(const WgpuOptions& options);
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  const Api& api() const { return *api_; }
  WGPUDevice device() const { return device_.get(); }
  WGPUQueue queue() const { return queue_.get(); }
  const WgpuOptions& options() const { return options_; }
  const AdapterInfo& adapter() const { return adapter_; }
  const Limits& limits() const { return adapter_.limits; }
  Counters& counters() { return counters_; }
  ErrorSlot& errors() { return errors_; }
  Pool& pool() { return *pool_; }
  Pipelines& pipelines() { return *pipelines_; }
  Shaders& shaders() { return *shaders_; }
  bool checked() const { return options_.checked; }

  /// Runs `create` inside error scopes and throws what the library says about `doing`.
  void scoped(const std::function<void()>& create, const std::string& doing);
  /// The same, reporting instead of throwing. True if there was no error.
  bool scoped_quietly(const std::function<void()>& create, const std::string& doing);
  /// Lets the library call back, without waiting.
  void pump();
  /// Waits until `done`, which a callback sets.
  void wait_for(const bool& done);
  /// Waits until everything submitted has run, or the device is lost.
  void wait_idle();

 private:
  struct Scope;

  void open();
  bool try_library(const std::string& path, std::string& reason);
  void request_device(WGPUAdapter adapter);
  void read_limits(WGPUAdapter adapter);
  void measure_subgroups();
  std::string run_scoped(const std::function<void()>& create, WGPUErrorType& type);

  WgpuOptions options_;
  ErrorSlot errors_;  // callbacks of all objects below write into it
  const Api* api_ = nullptr;
  Handle<WGPUInstance> instance_;
  Handle<WGPUDevice> device_;
  Handle<WGPUQueue> queue_;
  AdapterInfo adapter_;
  Counters counters_;
  std::unique_ptr<Shaders> shaders_;
  std::unique_ptr<Pipelines> pipelines_;
  std::shared_ptr<Pool> pool_;
};

}  // namespace candela::wgpu
