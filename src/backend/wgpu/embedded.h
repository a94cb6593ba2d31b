#pragma once

namespace candela::wgpu {

/// One kernel source inside the program; the list ends with a null name.
struct EmbeddedKernel {
  const char* name;
  const char* source;
};

extern const EmbeddedKernel kEmbeddedKernels[];

}  // namespace candela::wgpu
