#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "backend/wgpu/api.h"
#include "backend/wgpu/kernel.h"
#include "backend/wgpu/pipeline.h"
#include "backend/wgpu/storage.h"

namespace candela::wgpu {

class Context;

/// Bind groups by layout and buffers. Making one costs as much as several dispatches, so that a
/// decoded token should find all of its own here.
class BindGroups {
 public:
  /// @param params  the buffer behind the last binding, with a dynamic offset
  BindGroups(Context& context, BufferPtr params);

  WGPUBindGroup get(const Pipeline& pipeline, std::span<const Operand> operands);
  /// Forgets groups that name buffers given back to the driver, which they would keep alive.
  void forget(std::span<const uint64_t> buffer_ids);

 private:
  struct Key {
    uint32_t layout = 0;
    std::array<uint64_t, kMaxOperands> buffers{};
    bool operator==(const Key&) const = default;
  };
  struct Hash {
    size_t operator()(const Key& key) const;
  };

  Handle<WGPUBindGroup> make(const Pipeline& pipeline, std::span<const Operand> operands);

  Context& context_;
  BufferPtr params_;
  std::unordered_map<Key, Handle<WGPUBindGroup>, Hash> groups_;
};

}  // namespace candela::wgpu
