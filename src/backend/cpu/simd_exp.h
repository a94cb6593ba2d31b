// Loops around exp; see simd_loops.h for V and for how this is included.
#pragma once

#include "backend/cpu/simd_loops.h"

namespace candela::cpu {

namespace {

/// exp to 2 units in the last place; 0 below -87.7 (so also of -inf), infinity above 88.37.
/// Source: expf of the Cephes library.
template <typename V>
typename V::Floats exp_of(typename V::Floats x) {
  x = V::min(V::set(89.0f), V::max(V::set(-88.0f), x));  // lets NaN pass
  const auto n = V::round(V::mul(x, V::set(1.44269504f)));
  // x - n ln 2 in two steps, the first of which is exact.
  auto r = V::fma(n, V::set(-0.693359375f), x);
  r = V::fma(n, V::set(2.12194440e-4f), r);
  auto p = V::fma(V::set(1.9875691500e-4f), r, V::set(1.3981999507e-3f));
  p = V::fma(p, r, V::set(8.3334519073e-3f));
  p = V::fma(p, r, V::set(4.1665795894e-2f));
  p = V::fma(p, r, V::set(1.6666665459e-1f));
  p = V::fma(p, r, V::set(5.0000001201e-1f));
  p = V::fma(p, V::mul(r, r), V::add(r, V::set(1.0f)));
  return V::mul(p, V::power_of_two(n));
}

/// kLanes floats of the last, partial vector, the rest `fill`.
template <typename V>
struct Tail {
  float values[V::kLanes];
  Tail(const float* x, int64_t n, float fill) {
    for (int64_t i = 0; i < V::kLanes; ++i) {
      values[i] = i < n ? x[i] : fill;
    }
  }
  void store(int64_t n, float* to) const {
    for (int64_t i = 0; i < n; ++i) {
      to[i] = values[i];
    }
  }
};

template <typename V>
float largest(const float* x, int64_t n) {
  auto top = V::set(-__builtin_inff());
  int64_t i = 0;
  for (; i + V::kLanes <= n; i += V::kLanes) {
    top = V::max(V::load(x + i), top);
  }
  Tail<V> lanes(x + i, n - i, -__builtin_inff());
  V::store(lanes.values, V::max(V::load(lanes.values), top));
  float out = lanes.values[0];
  for (const float value : lanes.values) {
    out = value > out ? value : out;
  }
  return out;
}

/// y = exp(x - shift) and its sum.
template <typename V>
double exp_sum(const float* x, int64_t n, float shift, float* y) {
  constexpr int64_t kPiece = 1024;  // summed in F32
  const auto minus = V::set(-shift);
  double total = 0.0;
  for (int64_t begin = 0; begin < n; begin += kPiece) {
    const int64_t end = n - begin < kPiece ? n : begin + kPiece;
    typename V::Floats sums[4] = {V::zero(), V::zero(), V::zero(), V::zero()};
    int64_t i = begin;
    for (; i + V::kLanes <= end; i += V::kLanes) {
      const auto value = exp_of<V>(V::add(V::load(x + i), minus));
      V::store(y + i, value);
      sums[0] = V::add(sums[0], value);
    }
    if (i < end) {
      Tail<V> tail(x + i, end - i, -__builtin_inff());
      const auto value = exp_of<V>(V::add(V::load(tail.values), minus));
      V::store(tail.values, value);
      tail.store(end - i, y + i);
      sums[0] = V::add(sums[0], value);
    }
    float sum[4];
    V::sums(sums, sum);
    total += static_cast<double>(sum[0]);
  }
  return total;
}

template <typename V>
float softmax(const float* x, int64_t n, float* y) {
  const float top = largest<V>(x, n);
  if (top == -__builtin_inff()) {
    for (int64_t i = 0; i < n; ++i) {
      y[i] = 0.0f;
    }
    return top;
  }
  const double sum = exp_sum<V>(x, n, top, y);
  const auto scale = static_cast<float>(1.0 / sum);
  for (int64_t i = 0; i < n; ++i) {
    y[i] *= scale;
  }
  return top + static_cast<float>(__builtin_log(sum));
}

template <typename V>
typename V::Floats swiglu_of(typename V::Floats gate, typename V::Floats up) {
  const auto one = V::set(1.0f);
  const auto minus = V::mul(gate, V::set(-1.0f));
  return V::mul(V::div(gate, V::add(one, exp_of<V>(minus))), up);
}

template <typename V>
void swiglu(const float* gate, const float* up, int64_t n, float* y) {
  int64_t i = 0;
  for (; i + V::kLanes <= n; i += V::kLanes) {
    V::store(y + i, swiglu_of<V>(V::load(gate + i), V::load(up + i)));
  }
  if (i < n) {
    Tail<V> tail(gate + i, n - i, 0.0f);
    const Tail<V> ups(up + i, n - i, 0.0f);
    V::store(tail.values, swiglu_of<V>(V::load(tail.values), V::load(ups.values)));
    tail.store(n - i, y + i);
  }
}

template <typename V>
constexpr Simd table_of(const char* name) {
  return {name,
          {loops_of<V, DType::F32>(),
           loops_of<V, DType::F16>(),
           loops_of<V, DType::BF16>(),
           {},
           {},
           {},
           {},
           loops_of<V, DType::Q8_0>(),
           loops_of<V, DType::Q4_0>(),
           loops_of<V, DType::Q4_1>(),
           loops_of<V, DType::Q8_16>()},
          V::kDotWeights,
          {},
          narrow<V>,
          softmax<V>,
          swiglu<V>,
          multiply_add<V>};
}

}  // namespace

}  // namespace candela::cpu
