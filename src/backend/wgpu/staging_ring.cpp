#include "backend/wgpu/staging_ring.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>

#include "backend/wgpu/context.h"
#include "backend/wgpu/pool.h"
#include "backend/wgpu/stream.h"
#include "base/error.h"

namespace candela::wgpu {
namespace {

/// Twice as many as threads: each writes into one while the device copies another.
constexpr size_t kSlots = 2 * size_t{IoThreads::kEnough};
constexpr auto kNap = std::chrono::microseconds(50);

bool is_done(const std::future<void>& future) {
  return future.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
}

}  // namespace

struct StagingRing::Slot {
  BufferPtr buffer;
  std::byte* memory = nullptr;  ///< null while the device has the buffer
  std::future<void> filling;
  BufferPtr to;
  uint64_t offset = 0, bytes = 0;

  bool mapped = true;  ///< set by the callback
  WGPUMapAsyncStatus status = WGPUMapAsyncStatus_Success;
  std::string message;
};

StagingRing::StagingRing(Context& context, Stream& stream)
    : context_(context), stream_(stream), threads_(IoThreads::kEnough) {}

StagingRing::~StagingRing() {
  for (const Slot* slot : filling_) {
    slot->filling.wait();
  }
  for (const auto& slot : slots_) {
    context_.wait_for(slot->mapped);  // the callback writes into the slot
  }
}

void StagingRing::copy(const BufferPtr& to, uint64_t offset, uint64_t bytes, Fill fill) {
  Slot& slot = free_slot();
  slot.to = to;
  slot.offset = offset;
  slot.bytes = (bytes + 3) / 4 * 4;
  std::memset(slot.memory + bytes, 0, slot.bytes - bytes);
  slot.filling = threads_.run([fill = std::move(fill), memory = slot.memory] { fill(memory); });
  filling_.push_back(&slot);
}

void StagingRing::drain() {
  while (!filling_.empty()) {
    hand_over_oldest();
  }
}

StagingRing::Slot& StagingRing::free_slot() {
  for (;;) {
    while (!filling_.empty() && is_done(filling_.front()->filling)) {
      hand_over_oldest();
    }
    const bool copying = take_back();
    if (free_.empty() && slots_.size() < kSlots) {
      auto slot = std::make_unique<Slot>();
      slot->buffer = context_.pool().make(
          kChunk, WGPUBufferUsage_MapWrite | WGPUBufferUsage_CopySrc, "staging", true);
      slot->memory = static_cast<std::byte*>(
          context_.api().BufferGetMappedRange(slot->buffer->get(), 0, kChunk));
      free_.push_back(slot.get());
      slots_.push_back(std::move(slot));
    }
    if (!free_.empty()) {
      Slot& slot = *free_.back();
      free_.pop_back();
      return slot;
    }
    if (!copying) {
      hand_over_oldest();
    } else if (!filling_.empty()) {
      filling_.front()->filling.wait_for(kNap);
    } else {
      std::this_thread::sleep_for(kNap);
    }
  }
}

void StagingRing::hand_over_oldest() {
  Slot& slot = *filling_.front();
  filling_.pop_front();
  const BufferPtr to = std::move(slot.to);
  try {
    slot.filling.get();
  } catch (...) {
    free_.push_back(&slot);
    throw;
  }
  context_.api().BufferUnmap(slot.buffer->get());
  slot.memory = nullptr;
  stream_.copy({slot.buffer}, 0, {to, true}, slot.offset, slot.bytes);
  stream_.flush();
  map(slot);
  Counters& counters = context_.counters();
  ++counters.uploads;
  counters.upload_bytes += slot.bytes;
}

void StagingRing::map(Slot& slot) {
  slot.mapped = false;
  WGPUBufferMapCallbackInfo callback{};
  callback.mode = WGPUCallbackMode_AllowProcessEvents;
  callback.userdata1 = &slot;
  callback.callback = [](WGPUMapAsyncStatus status, WGPUStringView message, void* user, void*) {
    auto* mapped = static_cast<Slot*>(user);
    mapped->status = status;
    mapped->message = to_string(message);
    mapped->mapped = true;
  };
  context_.api().BufferMapAsync(slot.buffer->get(), WGPUMapMode_Write, 0, kChunk, callback);
}

bool StagingRing::take_back() {
  context_.pump();
  bool copying = false;
  for (const auto& slot : slots_) {
    if (slot->memory != nullptr) {
      continue;
    }
    if (!slot->mapped) {
      copying = true;
      continue;
    }
    context_.errors().check();
    // wgpu-native aborts if an unmapped buffer is asked for its range.
    if (slot->status == WGPUMapAsyncStatus_Success) {
      slot->memory = static_cast<std::byte*>(
          context_.api().BufferGetMappedRange(slot->buffer->get(), 0, kChunk));
    }
    if (slot->memory == nullptr) {
      fail(ErrorKind::Unavailable, Subject::Device,
           "The WebGPU device does not give staging memory back: {}.", slot->message);
    }
    free_.push_back(slot.get());
  }
  return copying;
}

}  // namespace candela::wgpu
