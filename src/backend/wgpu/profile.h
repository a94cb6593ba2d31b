#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "backend/wgpu/api.h"
#include "backend/wgpu/storage.h"

namespace candela::wgpu {

class Context;

/// Time of each dispatch by timestamp queries around a pass of its own.
class Profiler {
 public:
  /// @param capacity  dispatches between two calls of `resolve`
  /// @throws Unsupported  The device has no timestamps.
  Profiler(Context& context, uint32_t capacity);

  /// What to begin the next dispatch's pass with.
  WGPUPassTimestampWrites next(const std::string& kernel);
  /// Records the resolution of all queries since the last time.
  void resolve(WGPUCommandEncoder encoder);
  /// After submission: waits and adds the times up.
  void collect();
  /// Sums since the last call, longest first.
  std::vector<KernelTime> take();

 private:
  Context& context_;
  Handle<WGPUQuerySet> queries_;
  BufferPtr resolved_, staging_;
  double period_ns_ = 1.0;
  std::vector<std::string> pending_;
  std::map<std::string, KernelTime> sums_;
};

}  // namespace candela::wgpu
