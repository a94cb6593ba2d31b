#pragma once

#include <string>

#include "tensor/tensor.h"

namespace candela::cli {

/// What the CPU's matrix kernels make of the machine, for people: bytes a second beside a plain
/// loop that reads the same memory on as many threads, and products beside fused multiply-adds in
/// registers. Takes about two seconds.
/// @param threads  those of `device`; 0 means all available cores
std::string describe_cpu_kernels(const Device& device, int threads);

}  // namespace candela::cli
