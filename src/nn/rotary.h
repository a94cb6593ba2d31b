#pragma once

#include <cstdint>

#include "tensor/tensor.h"

namespace candela::nn {

/// Cosines and sines for integer positions, made on the host in F32 (WGSL's own are only good to
/// 2^-11 and BF16 tables cost quality) and kept on the device, both in one tensor. The table grows
/// by doubling.
///
/// angle(p, i) = p * theta^(-2 i / dim), i < dim / 2. Interleaved M-RoPE equals this table as long
/// as a token's three positions are equal, as they are for text.
class Rotary {
 public:
  Rotary(int64_t head_dim, double theta, Device device);

  /// Makes sure that positions below `count` are in the table.
  void reserve(int64_t count);
  int64_t count() const { return count_; }
  const Tensor& cos() const { return cos_; }  ///< [positions, head_dim / 2], F32
  const Tensor& sin() const { return sin_; }

 private:
  int64_t half_;
  double theta_;
  Device device_;
  int64_t count_ = 0;
  Tensor cos_, sin_;
};

}  // namespace candela::nn
