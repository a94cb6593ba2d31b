#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "backend/wgpu/api.h"
#include "backend/wgpu/kernel.h"
#include "backend/wgpu/storage.h"

namespace candela::wgpu {

class Context;

/// Time of passes by timestamp queries around each: of a dispatch, where each has a pass of its
/// own.
class Profiler {
 public:
  /// @param capacity  passes between two calls of `resolve`, at most 2,048
  /// @throws Unsupported  The device has no timestamps.
  Profiler(Context& context, uint32_t capacity);

  /// What to begin the next pass with.
  WGPUPassTimestampWrites next(const std::string& name, const Work& work = {});
  bool is_full() const { return pending_.size() == capacity_; }
  /// Records the resolution of all queries since the last time.
  void resolve(WGPUCommandEncoder encoder);
  /// After submission: waits and adds the times up.
  void collect();
  /// Sums since the last call, longest first.
  std::vector<KernelTime> take();

 private:
  Context& context_;
  uint32_t capacity_;
  Handle<WGPUQuerySet> queries_;
  BufferPtr resolved_, staging_;
  double period_ns_ = 1.0;
  std::vector<KernelTime> pending_;  ///< without their times
  std::map<std::string, KernelTime> sums_;
};

}  // namespace candela::wgpu
