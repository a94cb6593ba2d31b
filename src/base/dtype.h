#pragma once

#include <cstdint>
#include <string_view>

namespace candela {

/// Element types. Q8_0, Q4_0 and Q4_1 are GGUF block formats: 32 weights of one row share a scale
/// (Q4_1: and a minimum). Q8_16 is the block format of key/value caches: 16 numbers of a head share
/// a scale. Blocks exist only as contiguous weights and caches, never as activations; they come
/// last.
enum class DType : uint8_t { F32, F16, BF16, U8, I32, U32, I64, Q8_0, Q4_0, Q4_1, Q8_16 };

inline constexpr DType kAllDTypes[] = {DType::F32,  DType::F16,  DType::BF16, DType::U8,
                                       DType::I32,  DType::U32,  DType::I64,  DType::Q8_0,
                                       DType::Q4_0, DType::Q4_1, DType::Q8_16};

/// "F32", "BF16", "Q4_0", ... as safetensors and GGUF spell them.
std::string_view dtype_name(DType dtype);

/// Elements in one block: 32 for the quantised types, 1 for all others.
constexpr int64_t block_elements(DType dtype) {
  return dtype >= DType::Q8_0 ? 32 : 1;
}

/// Bytes of one block. Q8_0: F16 scale + 32 x I8. Q4_0: F16 scale + 16 bytes. Q4_1: F16 scale,
/// F16 minimum + 16 bytes. Source: ggml-common.h, block_q8_0, block_q4_0, block_q4_1. Q8_16: F16
/// scales of the first and the last 16 + 32 x I8, so that blocks consist of whole words.
constexpr int64_t block_bytes(DType dtype) {
  switch (dtype) {
    case DType::U8:
      return 1;
    case DType::F16:
    case DType::BF16:
      return 2;
    case DType::F32:
    case DType::I32:
    case DType::U32:
      return 4;
    case DType::I64:
      return 8;
    case DType::Q8_0:
      return 34;
    case DType::Q4_0:
      return 18;
    case DType::Q4_1:
      return 20;
    case DType::Q8_16:
      return 36;
  }
  return 0;
}

/// Bytes of `elements` consecutive elements; a partial block counts as a whole one.
constexpr int64_t dtype_bytes(DType dtype, int64_t elements) {
  const int64_t block = block_elements(dtype);
  return (elements + block - 1) / block * block_bytes(dtype);
}

constexpr bool is_quantized(DType dtype) {
  return block_elements(dtype) > 1;
}
constexpr bool is_float(DType dtype) {
  return dtype == DType::F32 || dtype == DType::F16 || dtype == DType::BF16;
}
constexpr bool is_integer(DType dtype) {
  return !is_float(dtype) && !is_quantized(dtype);
}

}  // namespace candela
