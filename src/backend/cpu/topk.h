#pragma once

#include <cstdint>

namespace candela::cpu {

/// The k largest of n >= k values, largest first, the lower index first among equals.
void largest(const float* x, int64_t n, int64_t k, float* values, uint32_t* indices);

}  // namespace candela::cpu
