#include "backend/wgpu/transfer.h"

#include <cstring>
#include <string>

#include "backend/wgpu/context.h"
#include "base/error.h"

namespace candela::wgpu {

struct MapRequest::Reply {
  bool done = false;
  bool taken = false;  ///< the bytes were copied out and the buffer unmapped
  uint64_t bytes = 0;
  WGPUMapAsyncStatus status = WGPUMapAsyncStatus_Error;
  std::string message;

  static void on_mapped(WGPUMapAsyncStatus status, WGPUStringView message, void* user, void*) {
    const std::unique_ptr<std::shared_ptr<Reply>> reply(static_cast<std::shared_ptr<Reply>*>(user));
    (*reply)->status = status;
    (*reply)->message = to_string(message);
    (*reply)->done = true;
  }
};

MapRequest::MapRequest(Context& context, BufferPtr staging, uint64_t bytes)
    : context_(context), staging_(std::move(staging)), reply_(std::make_shared<Reply>()) {
  reply_->bytes = (bytes + 3) / 4 * 4;
  WGPUBufferMapCallbackInfo callback{};
  callback.mode = WGPUCallbackMode_AllowProcessEvents;
  callback.callback = Reply::on_mapped;
  callback.userdata1 = new std::shared_ptr<Reply>(reply_);  // owned by the callback
  context.api().BufferMapAsync(staging_->get(), WGPUMapMode_Read, 0, reply_->bytes, callback);
}

MapRequest::~MapRequest() {
  if (!reply_->taken) {
    context_.api().BufferUnmap(staging_->get());
  }
}

void MapRequest::wait(std::span<std::byte> data) {
  const Api& api = context_.api();
  if (!reply_->done && api.DevicePoll != nullptr) {
    api.DevicePoll(context_.device(), 1, nullptr);
  }
  context_.wait_for(reply_->done);
  context_.errors().check();
  // wgpu-native aborts if an unmapped buffer is asked for its range.
  const void* mapped = reply_->status == WGPUMapAsyncStatus_Success && !reply_->taken
                           ? api.BufferGetConstMappedRange(staging_->get(), 0, reply_->bytes)
                           : nullptr;
  if (mapped == nullptr) {
    fail(ErrorKind::Unavailable, Subject::Device,
         "The WebGPU device does not give results back: {}.", reply_->message);
  }
  std::memcpy(data.data(), mapped, data.size());
  reply_->taken = true;
  api.BufferUnmap(staging_->get());
}

}  // namespace candela::wgpu
