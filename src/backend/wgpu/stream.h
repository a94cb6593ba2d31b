#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "backend/deferred.h"
#include "backend/limits.h"
#include "backend/storage.h"
#include "backend/wgpu/kernel.h"

namespace candela::wgpu {

class Context;

/// Records dispatches in order, submits them in batches, reads results back. One thread owns it.
///
/// A dispatch names its kernel, its params and its operands; pipelines and bind groups are cached
/// by finite keys, params lie in an arena bound with a dynamic offset, and every dispatch of a
/// batch shares one compute pass.
class Stream {
 public:
  explicit Stream(Context& context);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  /// Records one dispatch. `params` must have the layout of the shader's `struct Params`: 4-byte
  /// fields only. Empty grids are skipped, counted ones take as many workgroups as the device says.
  template <typename Params>
  void dispatch(const KernelId& kernel,
                const Grid& grid,
                const Params& params,
                std::initializer_list<Operand> operands,
                const Work& work = {}) {
    static_assert(std::is_trivially_copyable_v<Params> && sizeof(Params) % 4 == 0 &&
                  alignof(Params) == 4);
    dispatch_bytes(kernel, grid, {reinterpret_cast<const std::byte*>(&params), sizeof(Params)},
                   {operands.begin(), operands.size()}, work);
  }

  void dispatch_bytes(const KernelId& kernel,
                      const Grid& grid,
                      std::span<const std::byte> params,
                      std::span<const Operand> operands,
                      const Work& work = {});

  /// Buffer to buffer; offsets and size multiples of 4.
  void copy(const Operand& from,
            uint64_t from_offset,
            const Operand& to,
            uint64_t to_offset,
            uint64_t bytes);
  /// Lists the dispatches that `work` records instead of recording them; null while every dispatch
  /// is saved for a recording.
  std::shared_ptr<const Captured> capture(const std::function<void()>& work);
  /// Records what `work` asks for even while a capture goes on: what is made once and not in every
  /// replay, like numbers derived from weights.
  void outside_capture(const std::function<void()>& work);
  /// Runs a captured list in one pass and submits it.
  void replay(const Captured& work);
  void upload(const Operand& to, uint64_t offset, HostPiece data);
  void download(const Operand& from, uint64_t offset, std::span<std::byte> data);
  /// Copies [offset, offset + bytes) for the host and submits; multiples of 4.
  std::unique_ptr<Readback> read_later(const Operand& from, uint64_t offset, uint64_t bytes);
  void flush();
  void synchronize();
  /// Time by kernel since the last call; empty unless WgpuOptions.profile.
  std::vector<KernelTime> take_profile();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace candela::wgpu
