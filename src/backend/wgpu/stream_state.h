#pragma once

#include <map>
#include <memory>
#include <vector>

#include "backend/wgpu/bind_groups.h"
#include "backend/wgpu/capture.h"
#include "backend/wgpu/context.h"
#include "backend/wgpu/pipeline.h"
#include "backend/wgpu/pool.h"
#include "backend/wgpu/profile.h"
#include "backend/wgpu/record.h"
#include "backend/wgpu/stream.h"

/// For stream.cpp (dispatches, captures, submission) and stream_transfer.cpp (bytes to and fro).
namespace candela::wgpu {

/// Dispatches in one submit at most: the device starts while the rest is still being recorded.
inline constexpr uint32_t kMaxBatch = 64;
/// Passes that are timed before their times are read.
inline constexpr uint32_t kMaxTimedPasses = 2048;

struct Stream::State {
  explicit State(Context& c)
      : context(c),
        api(c.api()),
        params(c.pool().make(uint64_t{kMaxBatch} * kParamSlot,
                             WGPUBufferUsage_Uniform | WGPUBufferUsage_CopyDst,
                             "kernel params")),
        shadow(size_t{kMaxBatch} * kParamSlot),
        groups(c, params) {
    if (each_timed() || (c.options().profile == Profile::Passes && c.limits().timestamps)) {
      profiler = std::make_unique<Profiler>(c, each_timed() ? kMaxBatch : kMaxTimedPasses);
    }
    if (!c.options().record.empty()) {
      recorder = std::make_unique<Recorder>(c.options().record);
    }
  }

  /// Whether every dispatch has a pass of its own, for its time.
  bool each_timed() const { return context.options().profile == Profile::Kernels; }
  void refuse_in_capture(const char* what) const;
  BufferPtr staging(uint64_t bytes);
  WGPUCommandEncoder open_encoder();
  void begin_pass(const Pipeline& pipeline, const Work& work);
  void end_pass();
  void record(const Pipeline& pipeline,
              const Grid& grid,
              std::span<const std::byte> bytes,
              std::span<const Operand> operands,
              const Work& work);
  void encode(const Pipeline& pipeline,
              WGPUBindGroup group,
              uint32_t offset,
              const Grid& grid,
              const Work& work);
  void submit();
  void write(const Buffer& to, uint64_t offset, HostPiece data);

  Context& context;
  const Api& api;
  BufferPtr params;
  std::vector<std::byte> shadow;  ///< what `params` shall hold when this batch runs
  BindGroups groups;
  std::unique_ptr<Profiler> profiler;
  std::unique_ptr<Recorder> recorder;
  std::map<uint64_t, std::vector<BufferPtr>> read_buffers;  ///< by size
  std::shared_ptr<CapturedStep> captured;                   ///< while a capture goes on

  Handle<WGPUCommandEncoder> encoder;
  Handle<WGPUComputePassEncoder> pass;
  const Pipeline* bound = nullptr;
  uint32_t dispatches = 0;
  uint64_t batch = 1;
  uint64_t pending_writes = 0;
};

}  // namespace candela::wgpu
