#include "backend/wgpu/profile.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <span>

#include "backend/wgpu/context.h"
#include "backend/wgpu/pool.h"
#include "backend/wgpu/transfer.h"
#include "base/error.h"

namespace candela::wgpu {

Profiler::Profiler(Context& context, uint32_t capacity) : context_(context), capacity_(capacity) {
  if (!context.limits().timestamps) {
    fail(ErrorKind::Unsupported, Subject::Device,
         "The adapter {} offers no timestamps, so kernels cannot be profiled on it.",
         context.adapter().name);
  }
  const Api& api = context.api();
  WGPUQuerySetDescriptor descriptor{};
  descriptor.type = WGPUQueryType_Timestamp;
  descriptor.count = capacity * 2;
  context.scoped(
      [&] {
        queries_ = {api.DeviceCreateQuerySet(context.device(), &descriptor), api.QuerySetRelease};
      },
      "making timestamp queries");
  const uint64_t bytes = uint64_t{capacity} * 16;
  resolved_ = context.pool().make(bytes, WGPUBufferUsage_QueryResolve | WGPUBufferUsage_CopySrc,
                                  "timestamps");
  staging_ = context.pool().make(bytes, WGPUBufferUsage_MapRead | WGPUBufferUsage_CopyDst,
                                 "timestamps read back");
  if (api.QueueGetTimestampPeriod != nullptr) {
    period_ns_ = static_cast<double>(api.QueueGetTimestampPeriod(context.queue()));
  }
}

WGPUPassTimestampWrites Profiler::next(const std::string& name, const Work& work) {
  const auto index = static_cast<uint32_t>(pending_.size());
  const bool sized = work.weight_rows > 0;
  pending_.push_back(
      {sized ? fmt::format("{} {} x {}", name, work.weight_rows, work.weight_cols) : name, 1, 0.0,
       work.bytes, work.flops});
  WGPUPassTimestampWrites writes{};
  writes.querySet = queries_.get();
  writes.beginningOfPassWriteIndex = index * 2;
  writes.endOfPassWriteIndex = index * 2 + 1;
  return writes;
}

void Profiler::resolve(WGPUCommandEncoder encoder) {
  if (pending_.empty()) {
    return;
  }
  const Api& api = context_.api();
  const auto count = static_cast<uint32_t>(pending_.size() * 2);
  api.CommandEncoderResolveQuerySet(encoder, queries_.get(), 0, count, resolved_->get(), 0);
  api.CommandEncoderCopyBufferToBuffer(encoder, resolved_->get(), 0, staging_->get(), 0,
                                       uint64_t{count} * 8);
}

void Profiler::collect() {
  if (pending_.empty()) {
    return;
  }
  std::vector<uint64_t> ticks(pending_.size() * 2);
  MapRequest(context_, staging_, ticks.size() * 8).wait(std::as_writable_bytes(std::span(ticks)));
  for (size_t i = 0; i < pending_.size(); ++i) {
    const KernelTime& one = pending_[i];
    KernelTime& sum = sums_[one.name];
    sum.name = one.name;
    sum.count += one.count;
    sum.bytes += one.bytes;
    sum.flops += one.flops;
    const uint64_t begin = ticks[i * 2];
    const uint64_t end = std::max(begin, ticks[i * 2 + 1]);
    sum.nanoseconds += static_cast<double>(end - begin) * period_ns_;
  }
  pending_.clear();
}

std::vector<KernelTime> Profiler::take() {
  std::vector<KernelTime> times;
  times.reserve(sums_.size());
  for (auto& [name, time] : sums_) {
    times.push_back(std::move(time));
  }
  sums_.clear();
  std::sort(times.begin(), times.end(),
            [](const KernelTime& a, const KernelTime& b) { return a.nanoseconds > b.nanoseconds; });
  return times;
}

}  // namespace candela::wgpu
