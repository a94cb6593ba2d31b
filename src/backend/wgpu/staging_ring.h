#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "backend/wgpu/storage.h"
#include "base/io_threads.h"

namespace candela::wgpu {

class Context;
class Stream;

/// Fills device buffers through a ring of mapped staging buffers: threads write into some of them
/// while the device copies out of others, so that host memory stays flat and neither side waits.
class StagingRing {
 public:
  static constexpr uint64_t kChunk = UINT64_C(4) << 20;

  StagingRing(Context& context, Stream& stream);
  /// Waits for the threads and for the device to give the staging buffers back.
  ~StagingRing();
  StagingRing(const StagingRing&) = delete;
  StagingRing& operator=(const StagingRing&) = delete;

  /// Writes the bytes at its argument; runs on another thread.
  using Fill = std::function<void(std::byte* to)>;

  /// Puts `bytes` bytes at `offset`, a multiple of 4, of `to`; at most kChunk. The last word is
  /// filled up with zeros. @throws what earlier fills threw
  void copy(const BufferPtr& to, uint64_t offset, uint64_t bytes, Fill fill);
  /// Returns when every fill has run and its copy is submitted. @throws what a fill threw
  void drain();

 private:
  struct Slot;

  Slot& free_slot();
  void hand_over_oldest();
  void map(Slot& slot);
  /// Slots whose copies have run are free again. @return whether any copy still runs
  bool take_back();

  Context& context_;
  Stream& stream_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::vector<Slot*> free_;
  std::deque<Slot*> filling_;
  IoThreads threads_;  // ends before the slots that it writes into
};

}  // namespace candela::wgpu
