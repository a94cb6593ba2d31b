#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "backend/storage.h"
#include "base/bf16.h"
#include "tensor/tensor.h"

/// Between host memory and tensors.
namespace candela {

/// The DType whose elements are of the C++ type T.
template <typename T>
constexpr DType dtype_of();
template <>
constexpr DType dtype_of<float>() {
  return DType::F32;
}
template <>
constexpr DType dtype_of<Float16>() {
  return DType::F16;
}
template <>
constexpr DType dtype_of<BFloat16>() {
  return DType::BF16;
}
template <>
constexpr DType dtype_of<uint8_t>() {
  return DType::U8;
}
template <>
constexpr DType dtype_of<int32_t>() {
  return DType::I32;
}
template <>
constexpr DType dtype_of<uint32_t>() {
  return DType::U32;
}
template <>
constexpr DType dtype_of<int64_t>() {
  return DType::I64;
}

/// @throws Unsupported naming the dtype and the remedy if the device cannot hold it
void require_held(DType dtype, const Device& device);

/// Where a storage of this tensor may be cut: rows of the outermost axis whose rows fit into one
/// binding of the device, in bytes.
uint64_t split_unit(const Shape& shape, DType dtype, const Limits& limits);

/// Values rounded to `dtype` (not quantised), as bytes. Integers saturate, fractions are cut.
std::vector<std::byte> to_bytes(std::span<const double> values, DType dtype);

/// Bytes of one dtype (blocks included) as numbers.
std::vector<double> to_doubles(std::span<const std::byte> bytes, DType dtype, int64_t elements);

}  // namespace candela
