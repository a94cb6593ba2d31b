#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <optional>
#include <string>

#include "backend/wgpu/api.h"
#include "base/error.h"

namespace candela::wgpu {

/// What the library reported outside of a call. Callbacks fill it and never throw; the next flush
/// or read throws it. Any thread may report.
class ErrorSlot {
 public:
  /// Keeps the first error until it is thrown; later ones are usually its consequences.
  void report(WGPUErrorType type, const std::string& message, const std::string& while_doing);
  void report_lost(const std::string& reason);
  bool lost() const { return lost_.load(); }
  /// Throws what was reported, if anything. Loss of the device is thrown every time.
  void check();

 private:
  std::mutex mutex_;
  std::optional<Error> first_;
  std::string lost_reason_;
  std::atomic<bool> lost_ = false;
};

/// The candela error for what a WebGPU library reports about `doing` ("creating the pipeline of
/// kernel matvec").
Error translate(WGPUErrorType type, const std::string& message, const std::string& doing);

}  // namespace candela::wgpu
