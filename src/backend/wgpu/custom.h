#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

#include "backend/device.h"
#include "backend/storage.h"

/// A user's own WGSL on candela's device, without WebGPU's headers.
namespace candela::wgpu {

/// One binding of a custom kernel.
struct CustomOperand {
  View view;
  bool written = false;  ///< var<storage, read_write> instead of var<storage, read>
};

/// Records one dispatch of `source`, which goes through candela's directives (`//:include common`
/// and the like) and has the entry point `main`. Operands are bindings 0, 1, ... of group 0, whole
/// buffers; the params (up to 256 bytes of 4-byte fields) are the uniform after them.
///
/// @param name    For messages; a name stands for one source.
/// @param params  Bytes of the shader's struct.
/// @throws Unsupported  `device` is not a WebGPU device, or a view lies in several segments.
/// @throws Internal     The library refuses the shader; the message names its lines.
void run_custom_kernel(const Device& device,
                       const std::string& name,
                       const std::string& source,
                       uint32_t workgroups_x,
                       uint32_t workgroups_y,
                       std::span<const std::byte> params,
                       std::initializer_list<CustomOperand> operands);

}  // namespace candela::wgpu
