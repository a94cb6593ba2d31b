#pragma once

#include <cstdint>
#include <string>

#include "base/dtype.h"

namespace candela {

enum class DeviceKind { Cpu, Wgpu };

/// How exactly matrix products are computed. Sums are F32 in both.
enum class Precision {
  Exact,  ///< activations count with all bits of F32 (matrix cores: as two F16 terms)
  Fast,   ///< activations may be rounded to one F16 or BF16 term where the device gains by it
};

/// Where a device reads weights that come from files.
enum class WeightPlace {
  DeviceMemory,  ///< a copy of its own
  HostMemory,    ///< host memory that was filled once
  FilePages,     ///< the mapped file, where a tensor lies in one piece; else host memory
};

/// What a device can do. Zero means "no limit".
struct Limits {
  uint64_t max_binding_bytes = 0;  ///< largest piece of memory one kernel can see
  uint64_t max_buffer_bytes = 0;
  uint32_t max_workgroup_bytes = 0;
  uint32_t max_workgroup_threads = 0;
  uint32_t subgroup_min = 0, subgroup_max = 0;  ///< 0: no subgroup operations
  bool shader_f16 = false;
  bool subgroup_matrix = false;  ///< F16 matrices of 16 x 16 with sums in F32
  bool timestamps = false;
  bool software = false;       ///< a CPU that poses as a GPU (llvmpipe, SwiftShader)
  bool shares_memory = false;  ///< with the host: integrated GPUs and software
  bool binds_host_memory =
      false;  ///< buffers can be made of host memory, if the driver keeps to it
  bool holds_i64_and_u8 = false;
  bool captures = false;  ///< Backend::capture saves work on the host

  /// Whether tensors of this dtype can live on the device.
  bool holds(DType dtype) const {
    return holds_i64_and_u8 || (dtype != DType::I64 && dtype != DType::U8);
  }
};

/// What happened on a device since it was made; tests put upper bounds on the differences.
struct Counters {
  uint64_t dispatches = 0;
  uint64_t submits = 0;
  uint64_t pipelines = 0;    ///< compiled
  uint64_t bind_groups = 0;  ///< made, not reused
  uint64_t uploads = 0;
  uint64_t upload_bytes = 0;
  uint64_t readbacks = 0;
  uint64_t readback_bytes = 0;
  uint64_t allocations = 0;     ///< buffers made, not reused
  uint64_t bytes_in_use = 0;    ///< of storages that are alive
  uint64_t bytes_reserved = 0;  ///< including buffers kept for reuse, without mapped files
  uint64_t bytes_peak = 0;      ///< largest bytes_in_use
};

/// Device time of all dispatches of one kernel, and what they had to do at least (0: not told).
struct KernelTime {
  std::string name;
  uint64_t count = 0;
  double nanoseconds = 0;
  double bytes = 0, flops = 0;
};

}  // namespace candela
