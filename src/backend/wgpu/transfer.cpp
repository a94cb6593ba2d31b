#include "backend/wgpu/transfer.h"

#include <cstring>
#include <string>

#include "backend/wgpu/context.h"
#include "base/error.h"

namespace candela::wgpu {
namespace {

struct MapReply {
  bool done = false;
  WGPUMapAsyncStatus status = WGPUMapAsyncStatus_Error;
  std::string message;
};

void on_mapped(WGPUMapAsyncStatus status, WGPUStringView message, void* user, void*) {
  auto* reply = static_cast<MapReply*>(user);
  reply->status = status;
  reply->message = to_string(message);
  reply->done = true;
}

}  // namespace

void read_mapped(Context& context,
                 const Buffer& staging,
                 uint64_t offset,
                 std::span<std::byte> data) {
  const Api& api = context.api();
  const size_t bytes = (data.size() + 3) / 4 * 4;
  MapReply reply;
  WGPUBufferMapCallbackInfo callback{};
  callback.mode = WGPUCallbackMode_AllowProcessEvents;
  callback.callback = on_mapped;
  callback.userdata1 = &reply;
  api.BufferMapAsync(staging.get(), WGPUMapMode_Read, offset, bytes, callback);
  if (api.DevicePoll != nullptr) {
    api.DevicePoll(context.device(), 1, nullptr);
  }
  context.wait_for(reply.done);
  context.errors().check();
  // wgpu-native aborts if an unmapped buffer is asked for its range.
  const void* mapped = reply.status == WGPUMapAsyncStatus_Success
                           ? api.BufferGetConstMappedRange(staging.get(), offset, bytes)
                           : nullptr;
  if (mapped == nullptr) {
    fail(ErrorKind::Unavailable, Subject::Device,
         "The WebGPU device does not give results back: {}.", reply.message);
  }
  std::memcpy(data.data(), mapped, data.size());
  api.BufferUnmap(staging.get());
}

}  // namespace candela::wgpu
