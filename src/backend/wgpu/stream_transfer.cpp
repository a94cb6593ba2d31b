// The stream's way to and from host memory: uploads, read-backs, copies between buffers.
#include <algorithm>
#include <cstring>

#include "backend/wgpu/stream_state.h"
#include "backend/wgpu/transfer.h"
#include "base/assert.h"

namespace candela::wgpu {
namespace {

/// Bytes that are read back at once; bounds host memory.
constexpr uint64_t kReadChunk = UINT64_C(64) << 20;
/// Bytes handed to the library at once, and in all before waiting: it copies them.
constexpr uint64_t kWriteChunk = UINT64_C(16) << 20;
constexpr uint64_t kMaxPendingWrites = UINT64_C(128) << 20;

}  // namespace

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

}  // namespace candela::wgpu
