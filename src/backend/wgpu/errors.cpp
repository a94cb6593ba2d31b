#include "backend/wgpu/errors.h"

namespace candela::wgpu {

Error translate(WGPUErrorType type, const std::string& message, const std::string& doing) {
  // wgpu-native reports exhausted memory as a validation error with this text.
  const bool memory =
      type == WGPUErrorType_OutOfMemory || message.find("Not enough memory") != std::string::npos;
  if (memory) {
    return {ErrorKind::OutOfMemory, Subject::Device,
            fmt::format("The WebGPU device runs out of memory while {}: {}", doing, message)};
  }
  return {ErrorKind::Internal, Subject::Device,
          fmt::format("WebGPU reports an error while {}: {}", doing, message)};
}

void ErrorSlot::report(WGPUErrorType type,
                       const std::string& message,
                       const std::string& while_doing) {
  const std::lock_guard lock(mutex_);
  if (!first_) {
    first_ = translate(type, message, while_doing);
  }
}

void ErrorSlot::report_lost(const std::string& reason) {
  const std::lock_guard lock(mutex_);
  if (!lost_) {
    lost_reason_ = reason;
    lost_ = true;
  }
}

void ErrorSlot::check() {
  const std::lock_guard lock(mutex_);
  if (lost_) {
    fail(ErrorKind::Unavailable, Subject::Device,
         "The WebGPU device is lost ({}); open the device again.", lost_reason_);
  }
  if (first_) {
    const Error error = *first_;
    first_.reset();
    throw Error(error);
  }
}

}  // namespace candela::wgpu
