#include "nn/rotary.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace candela::nn {

Rotary::Rotary(int64_t head_dim, double theta, Device device)
    : half_(head_dim / 2), theta_(theta), device_(std::move(device)) {}

void Rotary::reserve(int64_t count) {
  if (count <= count_) {
    return;
  }
  count_ = std::max({count, 2 * count_, int64_t{256}});
  std::vector<float> table(static_cast<size_t>(2 * count_ * half_));
  const auto sines = static_cast<size_t>(count_ * half_);
  for (int64_t i = 0; i < half_; ++i) {
    // Rounded where the reference rounds: the frequency and the angle are F32 there.
    const auto frequency = static_cast<float>(
        1.0 / std::pow(theta_, 2.0 * static_cast<double>(i) / static_cast<double>(2 * half_)));
    for (int64_t p = 0; p < count_; ++p) {
      const float angle = static_cast<float>(p) * frequency;
      const auto at = static_cast<size_t>(p * half_ + i);
      table[at] = static_cast<float>(std::cos(static_cast<double>(angle)));
      table[sines + at] = static_cast<float>(std::sin(static_cast<double>(angle)));
    }
  }
  const Tensor both = Tensor::from_vector(table, {2 * count_, half_}, device_);
  cos_ = both.narrow(0, 0, count_);
  sin_ = both.narrow(0, count_, count_);
}

}  // namespace candela::nn
