#pragma once

#include <cstdint>

namespace candela::cpu {

/// Softmax of n floats; -inf counts as masked, a row of nothing else becomes zeros. In place if
/// x == y.
void softmax_row(const float* x, int64_t n, float* y);

}  // namespace candela::cpu
