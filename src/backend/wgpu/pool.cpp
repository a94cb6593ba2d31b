#include "backend/wgpu/pool.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "backend/wgpu/context.h"
#include "base/error.h"

namespace candela::wgpu {
namespace {

constexpr uint64_t kSmallest = 256;
/// Buffers kept for reuse; beyond this they go back to the driver.
constexpr uint64_t kMaxFreeBytes = UINT64_C(1) << 30;
constexpr WGPUBufferUsage kStorageUsage =
    WGPUBufferUsage_Storage | WGPUBufferUsage_CopyDst | WGPUBufferUsage_CopySrc;
/// Results of kernels may be grids of others.
constexpr WGPUBufferUsage kPooledUsage = kStorageUsage | WGPUBufferUsage_Indirect;

uint64_t round_up(uint64_t bytes, uint64_t step) {
  return (bytes + step - 1) / step * step;
}

WGPUBufferDescriptor describe(uint64_t bytes, WGPUBufferUsage usage) {
  WGPUBufferDescriptor descriptor{};
  descriptor.usage = usage;
  descriptor.size = bytes;
  return descriptor;
}

}  // namespace

uint64_t Pool::size_class(uint64_t bytes) {
  if (bytes <= kSmallest) {
    return kSmallest;
  }
  return round_up(bytes, std::bit_floor(bytes) / 8);
}

BufferPtr Pool::acquire(uint64_t bytes, bool pooled, const std::string& label) {
  uint64_t capacity = round_up(std::max<uint64_t>(bytes, 16), 16);
  if (pooled) {
    capacity = std::max(capacity, std::min(size_class(bytes), context_.limits().max_binding_bytes));
    if (auto buffer = take_free(capacity)) {
      return share(std::move(buffer), Kind::Pooled);
    }
  }
  const Kind kind = pooled ? Kind::Pooled : Kind::Exact;
  const WGPUBufferUsage usage = pooled ? kPooledUsage : kStorageUsage;
  return share(create(describe(capacity, usage), kind, label), kind);
}

BufferPtr Pool::make(uint64_t bytes, WGPUBufferUsage usage, const std::string& label, bool mapped) {
  WGPUBufferDescriptor descriptor = describe(round_up(bytes, 16), usage);
  descriptor.mappedAtCreation = mapped ? 1 : 0;
  return share(create(descriptor, Kind::Auxiliary, label), Kind::Auxiliary);
}

BufferPtr Pool::make_host(const WGPUBufferDescriptor& descriptor,
                          bool own,
                          const std::string& label) {
  const Kind kind = own ? Kind::Exact : Kind::FilePages;
  return share(create(descriptor, kind, label), kind);
}

std::unique_ptr<Buffer> Pool::take_free(uint64_t capacity) {
  const std::lock_guard lock(mutex_);
  const auto found = free_.find(capacity);
  if (found == free_.end() || found->second.empty()) {
    return nullptr;
  }
  auto buffer = std::move(found->second.back());
  found->second.pop_back();
  free_bytes_ -= capacity;
  return buffer;
}

BufferPtr Pool::share(std::unique_ptr<Buffer> buffer, Kind kind) {
  if (kind != Kind::Auxiliary) {
    const std::lock_guard lock(mutex_);
    Counters& counters = context_.counters();
    counters.bytes_in_use += buffer->capacity();
    counters.bytes_peak = std::max(counters.bytes_peak, counters.bytes_in_use);
  }
  return {buffer.release(), [pool = weak_from_this(), kind](Buffer* raw) {
            std::unique_ptr<Buffer> returned(raw);
            if (const auto home = pool.lock()) {
              home->give_back(std::move(returned), kind);
            }
          }};
}

void Pool::give_back(std::unique_ptr<Buffer> buffer, Kind kind) {
  const std::lock_guard lock(mutex_);
  if (kind != Kind::Auxiliary) {
    context_.counters().bytes_in_use -= buffer->capacity();
  }
  if (kind == Kind::Pooled && free_bytes_ + buffer->capacity() <= kMaxFreeBytes) {
    free_bytes_ += buffer->capacity();
    free_[buffer->capacity()].push_back(std::move(buffer));
  } else {
    retire(std::move(buffer), kind);
  }
}

void Pool::retire(std::unique_ptr<Buffer> buffer, Kind kind) {
  if (kind != Kind::FilePages) {
    context_.counters().bytes_reserved -= buffer->capacity();
  }
  retired_.push_back(buffer->id());
}

void Pool::trim() {
  const std::lock_guard lock(mutex_);
  for (auto& [capacity, buffers] : free_) {
    for (auto& buffer : buffers) {
      retire(std::move(buffer), Kind::Pooled);
    }
  }
  free_.clear();
  free_bytes_ = 0;
}

std::vector<uint64_t> Pool::take_retired() {
  const std::lock_guard lock(mutex_);
  return std::exchange(retired_, {});
}

void Pool::check_budget(uint64_t bytes, Kind kind, const std::string& label) {
  const uint64_t budget = context_.options().memory_budget;
  Counters& counters = context_.counters();
  if (budget != 0 && kind != Kind::FilePages && counters.bytes_reserved + bytes > budget) {
    trim();
    if (counters.bytes_reserved + bytes > budget) {
      fail(ErrorKind::OutOfMemory, Subject::Device,
           "The tensor {} needs {} bytes of device memory, but {} of the budget of {} bytes are in "
           "use; raise --memory or use a smaller model or context.",
           label, bytes, counters.bytes_reserved, budget);
    }
  }
  if (bytes > context_.limits().max_buffer_bytes) {
    fail(ErrorKind::OutOfMemory, Subject::Device,
         "The tensor {} needs a buffer of {} bytes, and this device allows at most {}.", label,
         bytes, context_.limits().max_buffer_bytes);
  }
}

std::unique_ptr<Buffer> Pool::create(WGPUBufferDescriptor descriptor,
                                     Kind kind,
                                     const std::string& label) {
  const uint64_t bytes = descriptor.size;
  check_budget(bytes, kind, label);
  descriptor.label = view_of(label);
  Handle<WGPUBuffer> handle;
  const auto attempt = [&] {
    context_.scoped(
        [&] {
          handle = {context_.api().DeviceCreateBuffer(context_.device(), &descriptor),
                    context_.api().BufferRelease};
        },
        fmt::format("allocating {} bytes for the tensor {}", bytes, label));
  };
  try {
    attempt();
  } catch (const Error& error) {
    // Host memory is handed over once, and the library may have let go of it.
    if (error.kind() != ErrorKind::OutOfMemory || descriptor.nextInChain != nullptr) {
      throw;
    }
    trim();
    context_.wait_idle();
    attempt();
  }
  if (!handle) {
    fail(ErrorKind::OutOfMemory, Subject::Device,
         "The WebGPU device gives no buffer of {} bytes for the tensor {}.", bytes, label);
  }
  const std::lock_guard lock(mutex_);
  Counters& counters = context_.counters();
  ++counters.allocations;
  counters.bytes_reserved += kind != Kind::FilePages ? bytes : 0;
  return std::make_unique<Buffer>(std::move(handle), bytes, next_id_++);
}

}  // namespace candela::wgpu
