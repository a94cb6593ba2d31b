#include "backend/wgpu/weight_loader.h"

#include <algorithm>
#include <vector>

#include "backend/wgpu/context.h"
#include "backend/wgpu/host_buffer.h"
#include "backend/wgpu/pool.h"
#include "backend/wgpu/stream.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mapped_file.h"
#include "base/threads.h"

namespace candela::wgpu {
namespace {

constexpr log::Area kLog{"wgpu"};
/// Up to this size a write through the queue costs less than a staging buffer.
constexpr uint64_t kSmall = UINT64_C(64) << 10;
/// Up to this size a tensor may be a norm or a bias, which is copied, so that it begins where
/// kernels read it by 16 bytes.
constexpr uint64_t kVector = UINT64_C(16) << 10;
/// Kernels read weights fastest from multiples of this.
constexpr uint64_t kFastAlignment = 16;

/// New memory is zeroed and then copied to from the page cache: work for cores, until memory is the
/// bound, not only waiting for a disk.
int fill_threads() {
  constexpr int kMemoryBound = 32;
  return std::clamp(available_cores(), IoThreads::kEnough, kMemoryBound);
}

/// The whole pages that a piece touches.
HostPiece pages_of(HostPiece piece) {
  const uint64_t page = host_page();
  const uint64_t lead = reinterpret_cast<uintptr_t>(piece.data()) % page;
  return {piece.data() - lead, static_cast<size_t>((lead + piece.size() + page - 1) / page * page)};
}

}  // namespace

WeightPlace WeightLoader::place() {
  if (!place_) {
    const auto file = MappedFile::open("/proc/self/exe");
    place_ = decide(file->bytes().first(1));
  }
  return *place_;
}

WeightPlace WeightLoader::decide(HostPiece piece) const {
  const WgpuOptions& options = context_.options();
  const Limits& limits = context_.limits();
  const WeightMode mode = options.weights;
  if (mode == WeightMode::Copy || (mode == WeightMode::Auto && !limits.shares_memory)) {
    return WeightPlace::DeviceMemory;
  }
  std::string no_pages = "the WebGPU library has no such feature for this adapter";
  std::string no_memory = no_pages;
  if (limits.binds_host_memory) {
    if (mode != WeightMode::Host && context_.api().is_dawn() &&
        reads_host_memory(options, pages_of(piece).first(host_page()), no_pages)) {
      return WeightPlace::FilePages;
    }
    if (mode != WeightMode::Map && reads_host_memory(options, {}, no_memory)) {
      log::info(kLog, "weights in host memory", {{"why_not_file_pages", no_pages}});
      return WeightPlace::HostMemory;
    }
  }
  const std::string& reason = mode == WeightMode::Map ? no_pages : no_memory;
  if (mode != WeightMode::Auto) {
    fail(ErrorKind::Unsupported, Subject::Device,
         "{} cannot read weights in {} ({}); use --weights auto.", context_.adapter().name,
         mode == WeightMode::Map ? "the pages of a file" : "host memory", reason);
  }
  log::info(kLog, "weights are copied", {{"reason", reason}});
  return WeightPlace::DeviceMemory;
}

Imported WeightLoader::load(std::span<const HostPiece> pieces,
                            const std::shared_ptr<const HostMemory>& owner,
                            uint64_t split_unit,
                            uint64_t unit,
                            const std::string& label) {
  const HostPieces run(pieces, owner.get());
  // Without an owner nobody promises that the memory outlives the buffer.
  if (owner == nullptr || run.bytes() == 0) {
    return {fill_device(run, split_unit, label)};
  }
  WeightPlace& place = place_ ? *place_ : place_.emplace(decide(run.first()));
  for (;;) {
    try {
      return put(place, run, owner, split_unit, unit, label);
    } catch (const Error& error) {
      // The probe was one page; a driver may refuse to pin as many as a model has.
      if (context_.options().weights != WeightMode::Auto || place == WeightPlace::DeviceMemory ||
          error.kind() != ErrorKind::OutOfMemory) {
        throw;
      }
      log::warn(kLog, "no more weights are read in place", {{"reason", error.what()}});
      place = place == WeightPlace::FilePages ? WeightPlace::HostMemory : WeightPlace::DeviceMemory;
    }
  }
}

Imported WeightLoader::put(WeightPlace place,
                           const HostPieces& pieces,
                           const std::shared_ptr<const HostMemory>& owner,
                           uint64_t split_unit,
                           uint64_t unit,
                           const std::string& label) {
  if (place == WeightPlace::FilePages) {
    if (const auto bound = bind_file(pieces, owner, unit, label)) {
      return *bound;
    }
  }
  const bool host = place != WeightPlace::DeviceMemory && pieces.bytes() > kSmall &&
                    context_.limits().max_binding_bytes >= host_page();
  return {host ? fill_host(pieces, split_unit, label) : fill_device(pieces, split_unit, label)};
}

std::optional<Imported> WeightLoader::bind_file(const HostPieces& pieces,
                                                const std::shared_ptr<const HostMemory>& owner,
                                                uint64_t unit,
                                                const std::string& label) {
  if (!pieces.is_one_run() || !owner->has_whole_pages() || pieces.bytes() <= kVector) {
    return std::nullopt;
  }
  const HostPiece pages = pages_of(pieces.first());
  const auto lead = static_cast<uint64_t>(pieces.first().data() - pages.data());
  const bool only_fast = context_.options().weights == WeightMode::Auto;
  if (pages.size() > context_.limits().max_binding_bytes || lead % unit != 0 || lead % 4 != 0 ||
      (only_fast && lead % kFastAlignment != 0)) {
    return std::nullopt;
  }
  std::vector<BufferPtr> buffers{bind_pages(context_, pages, owner, false, label)};
  std::vector<Storage::Segment> whole{{0, pages.size()}};
  return Imported{std::make_shared<WgpuStorage>(std::move(whole), std::move(buffers), label), lead};
}

StoragePtr WeightLoader::fill_host(const HostPieces& pieces,
                                   uint64_t split_unit,
                                   const std::string& label) {
  const uint64_t most = context_.limits().max_binding_bytes / host_page() * host_page();
  auto segments = cut_segments(pieces.bytes(), split_unit, most, label);
  std::vector<BufferPtr> buffers;
  buffers.reserve(segments.size());
  for (const Storage::Segment& segment : segments) {
    HostBuffer buffer(context_, segment.bytes, label);
    fill(buffer, pieces, segment);
    buffers.push_back(buffer.finish());
  }
  return std::make_shared<WgpuStorage>(std::move(segments), std::move(buffers), label);
}

void WeightLoader::fill(HostBuffer& buffer,
                        const HostPieces& pieces,
                        const Storage::Segment& segment) {
  if (!threads_) {
    threads_ = std::make_unique<IoThreads>(fill_threads());
  }
  std::vector<std::future<void>> reads;
  for (uint64_t at = 0; at < segment.bytes; at += StagingRing::kChunk) {
    const uint64_t bytes = std::min(StagingRing::kChunk, segment.bytes - at);
    std::byte* to = buffer.memory() + at;
    reads.push_back(threads_->run(
        [&pieces, from = segment.begin + at, bytes, to] { pieces.read(from, bytes, to); }));
  }
  for (const auto& read : reads) {
    read.wait();  // all of them, before an error takes the memory away
  }
  for (auto& read : reads) {
    read.get();
  }
}

StoragePtr WeightLoader::fill_device(const HostPieces& pieces,
                                     uint64_t split_unit,
                                     const std::string& label) {
  auto segments =
      cut_segments(pieces.bytes(), split_unit, context_.limits().max_binding_bytes, label);
  std::vector<BufferPtr> buffers;
  buffers.reserve(segments.size());
  for (const Storage::Segment& segment : segments) {
    buffers.push_back(context_.pool().acquire(segment.bytes, false, label));
  }
  if (pieces.bytes() <= kSmall) {
    for (size_t i = 0; i < segments.size() && segments[i].bytes > 0; ++i) {
      // The end of a segment: what follows in its last word is nobody's.
      std::vector<std::byte> words((segments[i].bytes + 3) / 4 * 4);
      pieces.read(segments[i].begin, segments[i].bytes, words.data());
      stream_.upload({buffers[i], true}, 0, words);
    }
    return std::make_shared<WgpuStorage>(std::move(segments), std::move(buffers), label);
  }
  if (!ring_) {
    ring_ = std::make_unique<StagingRing>(context_, stream_);
  }
  try {
    for (size_t i = 0; i < segments.size(); ++i) {
      for (uint64_t at = 0; at < segments[i].bytes; at += StagingRing::kChunk) {
        const uint64_t bytes = std::min(StagingRing::kChunk, segments[i].bytes - at);
        const uint64_t from = segments[i].begin + at;
        ring_->copy(buffers[i], at, bytes,
                    [&pieces, from, bytes](std::byte* to) { pieces.read(from, bytes, to); });
      }
    }
    ring_->drain();
  } catch (...) {
    ring_.reset();  // waits for threads that still read `pieces`
    throw;
  }
  return std::make_shared<WgpuStorage>(std::move(segments), std::move(buffers), label);
}

void WeightLoader::finish() {
  ring_.reset();
  threads_.reset();
}

}  // namespace candela::wgpu
