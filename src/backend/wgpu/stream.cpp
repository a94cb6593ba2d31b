#include "backend/wgpu/stream.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <utility>

#include "backend/wgpu/bind_groups.h"
#include "backend/wgpu/capture.h"
#include "backend/wgpu/context.h"
#include "backend/wgpu/pipeline.h"
#include "backend/wgpu/pool.h"
#include "backend/wgpu/profile.h"
#include "backend/wgpu/record.h"
#include "backend/wgpu/transfer.h"
#include "base/assert.h"
#include "base/error.h"

namespace candela::wgpu {
namespace {

/// Dispatches in one submit at most: the device starts while the rest is still being recorded.
constexpr uint32_t kMaxBatch = 64;
constexpr uint32_t kMaxGrid = 65535;
/// Passes that are timed before their times are read.
constexpr uint32_t kMaxTimedPasses = 2048;
/// Bytes that are read back at once; bounds host memory.
constexpr uint64_t kReadChunk = UINT64_C(64) << 20;
/// Bytes handed to the library at once, and in all before waiting: it copies them.
constexpr uint64_t kWriteChunk = UINT64_C(16) << 20;
constexpr uint64_t kMaxPendingWrites = UINT64_C(128) << 20;

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
  if (std::max({grid.x, grid.y, grid.z}) > kMaxGrid) {
    wrong(fmt::format("its grid is {} x {} x {}, more than {} in one direction", grid.x, grid.y,
                      grid.z, kMaxGrid));
  }
  for (size_t i = 0; i < operands.size(); ++i) {
    for (size_t j = i + 1; j < operands.size(); ++j) {
      if (operands[i].buffer == operands[j].buffer &&
          (operands[i].written || operands[j].written)) {
        wrong(fmt::format("bindings {} and {} are one buffer, and one of them is written", i, j));
      }
    }
  }
}

}  // namespace

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
  void begin_pass(const Pipeline& pipeline);
  void end_pass();
  void record(const Pipeline& pipeline,
              const Grid& grid,
              std::span<const std::byte> bytes,
              std::span<const Operand> operands);
  void encode(const Pipeline& pipeline, WGPUBindGroup group, uint32_t offset, const Grid& grid);
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

Stream::Stream(Context& context) : state_(std::make_unique<State>(context)) {}
Stream::~Stream() = default;

WGPUCommandEncoder Stream::State::open_encoder() {
  if (!encoder) {
    encoder = {api.DeviceCreateCommandEncoder(context.device(), nullptr),
               api.CommandEncoderRelease};
  }
  return encoder.get();
}

void Stream::State::begin_pass(const Pipeline& pipeline) {
  if (pass && !each_timed()) {
    return;
  }
  end_pass();
  WGPUComputePassDescriptor descriptor{};
  WGPUPassTimestampWrites times{};
  if (profiler) {
    times = profiler->next(each_timed() ? pipeline.name : "pass");
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
                           std::span<const Operand> operands) {
  const uint32_t offset = dispatches * kParamSlot;
  std::memcpy(shadow.data() + offset, bytes.data(), bytes.size());
  encode(pipeline, groups.get(pipeline, operands), offset, grid);
  for (const Operand& operand : operands) {
    operand.buffer->last_batch = batch;
    operand.buffer->writes += operand.written ? 1 : 0;
  }
  ++dispatches;
}

void Stream::State::encode(const Pipeline& pipeline,
                           WGPUBindGroup group,
                           uint32_t offset,
                           const Grid& grid) {
  begin_pass(pipeline);
  if (bound != &pipeline) {
    api.ComputePassEncoderSetPipeline(pass.get(), pipeline.handle.get());
    bound = &pipeline;
  }
  api.ComputePassEncoderSetBindGroup(pass.get(), 0, group, 1, &offset);
  api.ComputePassEncoderDispatchWorkgroups(pass.get(), grid.x, grid.y, grid.z);
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
                            std::span<const Operand> operands) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) {
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
    state.captured->add(pipeline, grid, params, operands);
    return;
  }
  if (state.recorder) {
    state.recorder->before(*this, kernel, grid, params, operands);
  }
  state.record(pipeline, grid, params, operands);
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
    state.encode(*one.pipeline, one.group, slot * kParamSlot, one.grid);
    ++slot;
    if (state.each_timed() && state.profiler->is_full()) {
      state.submit();
    }
  }
  flush();
}

void Stream::copy(const Operand& from,
                  uint64_t from_offset,
                  const Operand& to,
                  uint64_t to_offset,
                  uint64_t bytes) {
  CANDELA_ASSERT(from.buffer != to.buffer, "a buffer is copied onto itself");
  CANDELA_ASSERT((from_offset | to_offset | bytes) % 4 == 0, "a copy is not aligned to 4 bytes");
  if (bytes == 0) {
    return;
  }
  State& state = *state_;
  state.refuse_in_capture("copied between buffers");
  state.context.errors().check();
  state.end_pass();
  state.api.CommandEncoderCopyBufferToBuffer(state.open_encoder(), from.buffer->get(), from_offset,
                                             to.buffer->get(), to_offset, bytes);
  from.buffer->last_batch = to.buffer->last_batch = state.batch;
  ++to.buffer->writes;
}

void Stream::State::write(const Buffer& to, uint64_t offset, HostPiece data) {
  for (uint64_t at = 0; at < data.size(); at += kWriteChunk) {
    const uint64_t bytes = std::min<uint64_t>(kWriteChunk, data.size() - at);
    api.QueueWriteBuffer(context.queue(), to.get(), offset + at, data.data() + at, bytes);
    pending_writes += bytes;
    if (pending_writes >= kMaxPendingWrites) {
      context.wait_idle();
      pending_writes = 0;
    }
  }
}

void Stream::upload(const Operand& to, uint64_t offset, HostPiece data) {
  State& state = *state_;
  state.refuse_in_capture("uploaded");
  state.context.errors().check();
  if (data.empty()) {
    return;
  }
  // A write through the queue overtakes what is recorded and not yet submitted.
  if (to.buffer->last_batch == state.batch) {
    flush();
  }
  Counters& counters = state.context.counters();
  ++counters.uploads;
  counters.upload_bytes += data.size();
  ++to.buffer->writes;
  while (!data.empty()) {
    const uint64_t skew = offset % 4;
    if (skew == 0 && data.size() >= 4) {
      const uint64_t bytes = data.size() / 4 * 4;
      state.write(*to.buffer, offset, data.subspan(0, bytes));
      offset += bytes;
      data = data.subspan(bytes);
      continue;
    }
    // Part of a word: what lies beside it must stay.
    std::byte word[4];
    const uint64_t bytes = std::min<uint64_t>(4 - skew, data.size());
    download(to, offset - skew, word);
    std::memcpy(word + skew, data.data(), bytes);
    state.write(*to.buffer, offset - skew, word);
    offset += bytes;
    data = data.subspan(bytes);
  }
}

void Stream::download(const Operand& from, uint64_t offset, std::span<std::byte> data) {
  State& state = *state_;
  state.refuse_in_capture("read back");
  Counters& counters = state.context.counters();
  ++counters.readbacks;
  counters.readback_bytes += data.size();
  while (!data.empty()) {
    const uint64_t skew = offset % 4;
    const uint64_t bytes = std::min<uint64_t>(data.size(), kReadChunk - skew);
    const uint64_t words = (skew + bytes + 3) / 4 * 4;
    const BufferPtr staging = state.staging(words);
    copy(from, offset - skew, {staging}, 0, words);
    flush();
    if (skew == 0) {
      MapRequest(state.context, staging, bytes).wait(data.first(bytes));
    } else {
      std::vector<std::byte> aligned(skew + bytes);
      MapRequest(state.context, staging, aligned.size()).wait(aligned);
      std::memcpy(data.data(), aligned.data() + skew, bytes);
    }
    offset += bytes;
    data = data.subspan(bytes);
  }
}

BufferPtr Stream::State::staging(uint64_t bytes) {
  const uint64_t capacity = std::max<uint64_t>(Pool::size_class(bytes), 4096);
  for (BufferPtr& buffer : read_buffers[capacity]) {
    if (buffer.use_count() == 1) {
      return buffer;
    }
  }
  return read_buffers[capacity].emplace_back(context.pool().make(
      capacity, WGPUBufferUsage_MapRead | WGPUBufferUsage_CopyDst, "read-back"));
}

namespace {

class StreamReadback final : public Readback {
 public:
  StreamReadback(Context& context, BufferPtr staging, uint64_t bytes)
      : request_(context, std::move(staging), bytes) {}
  void wait(std::span<std::byte> data) override { request_.wait(data); }

 private:
  MapRequest request_;
};

}  // namespace

std::unique_ptr<Readback> Stream::read_later(const Operand& from, uint64_t offset, uint64_t bytes) {
  State& state = *state_;
  Counters& counters = state.context.counters();
  ++counters.readbacks;
  counters.readback_bytes += bytes;
  const BufferPtr staging = state.staging(bytes);
  copy(from, offset, {staging}, 0, bytes);
  flush();
  return std::make_unique<StreamReadback>(state.context, staging, bytes);
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
