#include "backend/wgpu/stream.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "backend/wgpu/stream_state.h"
#include "base/assert.h"
#include "base/error.h"

namespace candela::wgpu {
namespace {

constexpr uint32_t kMaxGrid = 65535;

uint32_t written_bits(std::span<const Operand> operands) {
  uint32_t bits = 0;
  for (size_t i = 0; i < operands.size(); ++i) {
    bits |= operands[i].written ? 1u << i : 0u;
  }
  return bits;
}

void check_dispatch(const KernelId& kernel,
                    const Grid& grid,
                    size_t param_bytes,
                    std::span<const Operand> operands) {
  const auto wrong = [&](const std::string& what) {
    fail(ErrorKind::Internal, Subject::Device, "The dispatch of kernel {} is wrong: {}.",
         describe(kernel), what);
  };
  if (param_bytes > kParamSlot) {
    wrong(fmt::format("its params have {} bytes, more than {}", param_bytes, kParamSlot));
  }
  if (operands.size() > kMaxOperands) {
    wrong(fmt::format("it binds {} buffers, more than {}", operands.size(), kMaxOperands));
  }
  if (!grid.counted && std::max({grid.x, grid.y, grid.z}) > kMaxGrid) {
    wrong(fmt::format("its grid is {} x {} x {}, more than {} in one direction", grid.x, grid.y,
                      grid.z, kMaxGrid));
  }
  for (size_t i = 0; i < operands.size(); ++i) {
    if (operands[i].written && operands[i].buffer == grid.counted) {
      wrong(fmt::format("binding {} is written and holds its grid", i));
    }
    for (size_t j = i + 1; j < operands.size(); ++j) {
      if (operands[i].buffer == operands[j].buffer &&
          (operands[i].written || operands[j].written)) {
        wrong(fmt::format("bindings {} and {} are one buffer, and one of them is written", i, j));
      }
    }
  }
}

}  // namespace

Stream::Stream(Context& context) : state_(std::make_unique<State>(context)) {}
Stream::~Stream() = default;

WGPUCommandEncoder Stream::State::open_encoder() {
  if (!encoder) {
    encoder = {api.DeviceCreateCommandEncoder(context.device(), nullptr),
               api.CommandEncoderRelease};
  }
  return encoder.get();
}

void Stream::State::begin_pass(const Pipeline& pipeline, const Work& work) {
  if (pass && !each_timed()) {
    return;
  }
  end_pass();
  WGPUComputePassDescriptor descriptor{};
  WGPUPassTimestampWrites times{};
  if (profiler) {
    times = each_timed() ? profiler->next(pipeline.name, work) : profiler->next("pass");
    descriptor.timestampWrites = &times;
  }
  pass = {api.CommandEncoderBeginComputePass(open_encoder(), &descriptor),
          api.ComputePassEncoderRelease};
}

void Stream::State::end_pass() {
  if (pass) {
    api.ComputePassEncoderEnd(pass.get());
    pass = {};
    bound = nullptr;
  }
}

void Stream::State::record(const Pipeline& pipeline,
                           const Grid& grid,
                           std::span<const std::byte> bytes,
                           std::span<const Operand> operands,
                           const Work& work) {
  const uint32_t offset = dispatches * kParamSlot;
  std::memcpy(shadow.data() + offset, bytes.data(), bytes.size());
  encode(pipeline, groups.get(pipeline, operands), offset, grid, work);
  for (const Operand& operand : operands) {
    operand.buffer->last_batch = batch;
    operand.buffer->writes += operand.written ? 1 : 0;
  }
  if (grid.counted) {
    grid.counted->last_batch = batch;
  }
  ++dispatches;
}

void Stream::State::encode(const Pipeline& pipeline,
                           WGPUBindGroup group,
                           uint32_t offset,
                           const Grid& grid,
                           const Work& work) {
  begin_pass(pipeline, work);
  if (bound != &pipeline) {
    api.ComputePassEncoderSetPipeline(pass.get(), pipeline.handle.get());
    bound = &pipeline;
  }
  api.ComputePassEncoderSetBindGroup(pass.get(), 0, group, 1, &offset);
  if (grid.counted) {
    api.ComputePassEncoderDispatchWorkgroupsIndirect(pass.get(), grid.counted->get(),
                                                     grid.counted_at);
  } else {
    api.ComputePassEncoderDispatchWorkgroups(pass.get(), grid.x, grid.y, grid.z);
  }
  ++context.counters().dispatches;
}

void Stream::State::submit() {
  if (!encoder) {
    return;
  }
  end_pass();
  const bool read_times = profiler && (each_timed() || profiler->is_full());
  if (read_times) {
    profiler->resolve(encoder.get());
  }
  if (dispatches > 0) {
    api.QueueWriteBuffer(context.queue(), params->get(), 0, shadow.data(),
                         size_t{dispatches} * kParamSlot);
  }
  Handle<WGPUCommandEncoder> done = std::move(encoder);
  dispatches = 0;
  ++batch;
  Handle<WGPUCommandBuffer> commands;
  const auto finish = [&] {
    commands = {api.CommandEncoderFinish(done.get(), nullptr), api.CommandBufferRelease};
  };
  // wgpu-native aborts the process when a failed command buffer is submitted.
  bool good = true;
  if (context.checked() || !api.is_dawn()) {
    good = context.scoped_quietly(finish, "recording kernels");
  } else {
    finish();
  }
  if (good && !context.errors().lost()) {
    WGPUCommandBuffer raw = commands.get();
    api.QueueSubmit(context.queue(), 1, &raw);
    ++context.counters().submits;
    pending_writes = 0;
    if (read_times) {
      profiler->collect();
    }
  }
  groups.forget(context.pool().take_retired());
  context.pump();
}

void Stream::dispatch_bytes(const KernelId& kernel,
                            const Grid& grid,
                            std::span<const std::byte> params,
                            std::span<const Operand> operands,
                            const Work& work) {
  if (!grid.counted && (grid.x == 0 || grid.y == 0 || grid.z == 0)) {
    return;
  }
  State& state = *state_;
  check_dispatch(kernel, grid, params.size(), operands);
  if (state.context.errors().lost() || state.dispatches == kMaxBatch) {
    flush();
  }
  const Pipeline& pipeline =
      state.context.pipelines().get(kernel, operands.size(), written_bits(operands));
  if (params.size() != pipeline.param_bytes) {
    fail(
        ErrorKind::Internal, Subject::Device,
        "The dispatch of kernel {} is wrong: it gets {} bytes of params, and its struct Params has "
        "{}.",
        pipeline.name, params.size(), pipeline.param_bytes);
  }
  if (state.captured) {
    state.captured->add(pipeline, grid, params, operands, work);
    return;
  }
  if (state.recorder) {
    state.recorder->before(*this, kernel, grid, params, operands);
  }
  state.record(pipeline, grid, params, operands, work);
  if (state.recorder) {
    state.recorder->after(*this, operands);
  }
}

void Stream::State::refuse_in_capture(const char* what) const {
  if (captured) {
    fail(ErrorKind::Internal, Subject::Device,
         "Inside a captured step something is {}, which a replay would not repeat; run the op "
         "before the capture.",
         what);
  }
}

std::shared_ptr<const Captured> Stream::capture(const std::function<void()>& work) {
  State& state = *state_;
  CANDELA_ASSERT(!state.captured, "a capture began inside another one");
  if (state.recorder) {
    return nullptr;
  }
  state.captured = std::make_shared<CapturedStep>();
  try {
    work();
  } catch (...) {
    state.captured.reset();
    throw;
  }
  const std::shared_ptr<CapturedStep> step = std::move(state.captured);
  state.captured.reset();
  step->finish(state.context);
  return step;
}

void Stream::outside_capture(const std::function<void()>& work) {
  State& state = *state_;
  std::shared_ptr<CapturedStep> paused = std::exchange(state.captured, nullptr);
  try {
    work();
  } catch (...) {
    state.captured = std::move(paused);
    throw;
  }
  state.captured = std::move(paused);
}

void Stream::replay(const Captured& work) {
  State& state = *state_;
  state.refuse_in_capture("replayed");
  const auto* step = dynamic_cast<const CapturedStep*>(&work);
  CANDELA_ASSERT(step != nullptr, "a captured step of another device is replayed");
  flush();
  uint32_t slot = 0;
  for (const CapturedStep::Dispatch& one : step->dispatches()) {
    state.encode(*one.pipeline, one.group, slot * kParamSlot, one.grid, one.work);
    ++slot;
    if (state.each_timed() && state.profiler->is_full()) {
      state.submit();
    }
  }
  flush();
}

void Stream::flush() {
  state_->submit();
  state_->context.errors().check();
}

void Stream::synchronize() {
  flush();
  state_->context.wait_idle();
  state_->context.errors().check();
}

std::vector<KernelTime> Stream::take_profile() {
  State& state = *state_;
  flush();
  if (!state.profiler) {
    return {};
  }
  if (!state.each_timed()) {
    state.profiler->resolve(state.open_encoder());
    flush();
    state.profiler->collect();
  }
  return state.profiler->take();
}

}  // namespace candela::wgpu
