#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "backend/storage.h"

namespace candela::wgpu {

class Buffer;

/// Which pipeline: a kernel file and how its three directives are resolved. The key must be
/// finite: dtypes, booleans and device features, never sizes or offsets that come from a prompt.
///
///   //:include bf16        puts kernels/bf16.wgsl here (once)
///   //:if X_BF16 / //:else / //:end   keeps lines by whether `defines` holds the name; may nest
///   {{NAME}}               is replaced by the text of `substitutions`
struct KernelId {
  const char* name;
  std::vector<std::string> defines = {};
  std::vector<std::pair<std::string, std::string>> substitutions = {};
  /// Adds the substitutions that are long and follow from the others; called when the pipeline is
  /// made, not at each dispatch.
  std::function<void(KernelId& kernel)> unroll = {};
};

/// The same with all its substitutions.
KernelId unrolled(const KernelId& kernel);

/// A buffer as one binding of a dispatch, bound whole: element offsets travel in the params.
struct Operand {
  std::shared_ptr<Buffer> buffer;
  bool written = false;  ///< var<storage, read_write> instead of var<storage, read>
};

/// The buffer of one segment of a view's storage, bound `read`. Bindings 0, 1, ... of group 0 are
/// the operands in order; the params (var<uniform>) come last.
Operand in(const View& view, size_t segment = 0);
/// The same, bound `read_write`.
Operand out(const View& view, size_t segment = 0);

/// Workgroups in each direction. WebGPU allows 65,535 a direction.
struct Grid {
  uint32_t x = 0, y = 1, z = 1;
  /// Where it is set, an earlier dispatch of this device has written the three numbers there
  /// (u32), `counted_at` bytes from the start: an indirect dispatch, and x, y and z say nothing.
  /// The dispatch itself may bind this buffer only `read`.
  std::shared_ptr<Buffer> counted = nullptr;
  uint64_t counted_at = 0;
};

/// What a dispatch has to do at least, for profiles: operands read and results written once, a
/// multiply-add as two. The sizes of its weight tell one matrix from another.
struct Work {
  double bytes = 0.0, flops = 0.0;
  uint32_t weight_rows = 0, weight_cols = 0;
};

/// `count` workgroups spread over x and y; the shader gets its linear number from
/// workgroup_index(workgroup_id, num_workgroups) of common.wgsl and must compare it with the count.
Grid grid_for(uint64_t count);

/// The grid that lies in the U32 tensor `numbers` from element `at` on; a temporary of one segment.
Grid counted_grid(const View& numbers, uint32_t at);

/// A size or offset as a shader sees it. @throws Unsupported above 2^32 - 1
uint32_t narrow_u32(int64_t value, const char* what);

}  // namespace candela::wgpu
