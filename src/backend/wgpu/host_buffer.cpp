#include "backend/wgpu/host_buffer.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "backend/wgpu/context.h"
#include "backend/wgpu/pool.h"
#include "backend/wgpu/wgpu_backend.h"
#include "base/error.h"

namespace candela::wgpu {
namespace {

// Never written to, and read back by tests and traces.
constexpr WGPUBufferUsage kUsage = WGPUBufferUsage_Storage | WGPUBufferUsage_CopySrc;
/// What Dawn asks for (hostMappedPointerAlignment) on every backend so far.
constexpr uint64_t kDawnAlignment = 4096;

uint64_t round_up(uint64_t bytes) {
  return (bytes + host_page() - 1) / host_page() * host_page();
}

/// The huge pages of x86-64, and of ARM64 with pages of 4 KiB.
constexpr uint64_t kHugePage = UINT64_C(2) << 20;

/// Pages of memory of our own, zeroed when first touched: huge ones where the kernel has them,
/// which takes a fraction of the time and spares the GPU's address translation.
std::shared_ptr<std::byte> allocate_pages(uint64_t bytes, const std::string& label) {
  const bool huge = bytes >= kHugePage;
  const uint64_t mapped = bytes + (huge ? kHugePage : 0);
  void* memory =
      ::mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    fail(ErrorKind::OutOfMemory, Subject::Device,
         "{} bytes of host memory for the tensor {} cannot be allocated.", bytes, label);
  }
  auto* begin = static_cast<std::byte*>(memory);
  std::byte* pages = begin;
  if (huge) {
    pages += (kHugePage - reinterpret_cast<uintptr_t>(memory) % kHugePage) % kHugePage;
    ::madvise(pages, bytes, MADV_HUGEPAGE);  // a kernel without them goes on with small ones
  }
  return {pages, [begin, mapped](std::byte*) { ::munmap(begin, mapped); }};
}

}  // namespace

uint64_t host_page() {
  return std::max<uint64_t>(kDawnAlignment, static_cast<uint64_t>(::sysconf(_SC_PAGESIZE)));
}

BufferPtr bind_pages(Context& context,
                     HostPiece pages,
                     std::shared_ptr<const void> keep,
                     bool own,
                     const std::string& label) {
  using Keep = std::shared_ptr<const void>;
  dawn::HostMapped host;
  host.chain.sType = dawn::kHostMappedDescriptor;
  host.pointer = const_cast<std::byte*>(pages.data());
  host.dispose = [](void* user) { delete static_cast<Keep*>(user); };
  host.user = new Keep(std::move(keep));
  WGPUBufferDescriptor descriptor{};
  descriptor.nextInChain = &host.chain;
  descriptor.usage = kUsage;
  descriptor.size = pages.size();
  return context.pool().make_host(descriptor, own, label);
}

HostBuffer::HostBuffer(Context& context, uint64_t bytes, const std::string& label)
    : context_(context), label_(label), bytes_(round_up(bytes)) {
  if (context.api().is_dawn()) {
    const auto pages = allocate_pages(bytes_, label);
    memory_ = pages.get();
    block_ = pages;
    return;
  }
  WGPUBufferDescriptor descriptor{};
  descriptor.usage = kUsage | WGPUBufferUsage_MapWrite;
  descriptor.size = bytes_;
  descriptor.mappedAtCreation = 1;
  mapped_ = context.pool().make_host(descriptor, true, label);
  memory_ = static_cast<std::byte*>(
      context.api().BufferGetMappedRange(mapped_->get(), 0, static_cast<size_t>(bytes_)));
}

BufferPtr HostBuffer::finish() {
  if (mapped_) {
    context_.api().BufferUnmap(mapped_->get());
    return std::move(mapped_);
  }
  const HostPiece pages(memory_, static_cast<size_t>(bytes_));
  return bind_pages(context_, pages, std::move(block_), true, label_);
}

bool reads_host_memory(const WgpuOptions& options, HostPiece page, std::string& reason) {
  WgpuOptions plain;
  plain.library = options.library;
  plain.adapter = options.adapter;
  plain.checked = options.checked;
  plain.weights = WeightMode::Host;
  try {
    WgpuBackend backend(plain);
    Context& context = backend.context();
    const std::string label = "a probe of host memory";
    BufferPtr buffer;
    std::vector<std::byte> expected(page.begin(), page.end());
    if (page.empty()) {
      HostBuffer own(context, host_page(), label);
      expected.resize(host_page());
      for (size_t i = 0; i < expected.size(); ++i) {
        expected[i] = static_cast<std::byte>(i * 37 + i / 256);
      }
      std::memcpy(own.memory(), expected.data(), expected.size());
      buffer = own.finish();
    } else {
      buffer = bind_pages(context, page, nullptr, false, label);
    }
    // A kernel reads it, not a copy: drivers differ there.
    const auto bytes = static_cast<uint64_t>(expected.size());
    const Layout words({static_cast<int64_t>(bytes / 4)});
    const std::vector<Storage::Segment> whole{{0, bytes}};
    const View x{std::make_shared<WgpuStorage>(whole, std::vector{buffer}, label), words,
                 DType::U32};
    const View y{backend.allocate(bytes, 4, label), words, DType::U32};
    backend.copy(x, y);
    std::vector<std::byte> got(expected.size());
    backend.download(y.storage, 0, got);
    reason = got == expected ? "" : "a kernel reads other bytes than the host";
    return got == expected;
  } catch (const Error& error) {
    reason = error.what();
    return false;
  }
}

}  // namespace candela::wgpu
