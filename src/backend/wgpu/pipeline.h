#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "backend/wgpu/api.h"
#include "backend/wgpu/kernel.h"

namespace candela::wgpu {

class Context;

/// Bytes of one slot of params, and the alignment of dynamic offsets.
inline constexpr uint32_t kParamSlot = 256;
/// Storage bindings of a kernel: what the smallest WebGPU device allows.
inline constexpr size_t kMaxOperands = 8;

/// A compiled kernel with the layout of its bindings.
struct Pipeline {
  Handle<WGPUComputePipeline> handle;
  WGPUBindGroupLayout layout = nullptr;
  uint32_t layout_key = 0;   ///< number of operands and which of them are written
  uint32_t param_bytes = 0;  ///< of the shader's struct Params
  std::string name;          ///< kernel with its defines, for messages and profiles
};

/// Compiled kernels and binding layouts, each made once.
///
/// Besides its own defines a kernel sees DAWN or NATIVE, F16 where the device has it, and, where
/// all subgroups have one size, {{SUBGROUP_SIZE}} ("32u"). SUBGROUPS is the caller's to define: the
/// grid depends on it.
class Pipelines {
 public:
  explicit Pipelines(Context& context) : context_(context) {}

  /// @param written  bit i: operand i is bound read_write
  /// @throws Internal naming kernel, file and line if the library refuses the shader
  const Pipeline& get(const KernelId& kernel, size_t operands, uint32_t written);

 private:
  struct Layout {
    Handle<WGPUBindGroupLayout> bindings;
    Handle<WGPUPipelineLayout> pipeline;
  };
  struct Entry {
    std::vector<std::string> defines;
    std::vector<std::pair<std::string, std::string>> substitutions;
    std::string kernel;
    uint32_t layout_key = 0;
    std::unique_ptr<Pipeline> pipeline;
  };

  const Layout& layout(size_t operands, uint32_t written);
  std::unique_ptr<Pipeline> compile(const KernelId& kernel, size_t operands, uint32_t written);

  Context& context_;
  std::unordered_map<uint32_t, Layout> layouts_;
  std::unordered_map<uint64_t, std::vector<Entry>> entries_;
};

/// "matvec [X_BF16 SUBGROUPS]"
std::string describe(const KernelId& kernel);

}  // namespace candela::wgpu
