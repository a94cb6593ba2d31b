#include "tensor/transfer.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/error.h"

namespace candela {

namespace {

template <typename T>
T load(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof(T));
  return value;
}

template <typename T>
T saturate(double value) {
  if (std::isnan(value)) {
    return 0;
  }
  constexpr double kLow = static_cast<double>(std::numeric_limits<T>::min());
  constexpr double kHigh = static_cast<double>(std::numeric_limits<T>::max());
  if (value >= kHigh) {
    return std::numeric_limits<T>::max();
  }
  return value <= kLow ? std::numeric_limits<T>::min() : static_cast<T>(value);
}

template <typename T, typename Convert>
void store_all(std::span<const double> values, std::byte* to, Convert convert) {
  for (size_t i = 0; i < values.size(); ++i) {
    const T value = convert(values[i]);
    std::memcpy(to + i * sizeof(T), &value, sizeof(T));
  }
}

double f16_at(const std::byte* at) {
  return to_float(Float16{load<uint16_t>(at)});
}

// Sources: ggml-common.h for the blocks; 4-bit weight j lies in the low half of byte j, weight
// j + 16 in its high half.
void decode_block(const std::byte* block, DType dtype, double* out) {
  if (dtype == DType::Q8_16) {
    for (size_t j = 0; j < 32; ++j) {
      out[j] = f16_at(block + j / 16 * 2) * load<int8_t>(block + 4 + j);
    }
    return;
  }
  const double scale = f16_at(block);
  const double low = dtype == DType::Q4_1 ? f16_at(block + 2) : -8.0 * scale;
  const std::byte* data = block + (dtype == DType::Q4_1 ? 4 : 2);
  for (size_t j = 0; j < 32; ++j) {
    if (dtype == DType::Q8_0) {
      out[j] = scale * load<int8_t>(data + j);
    } else {
      const auto byte = static_cast<unsigned>(data[j % 16]);
      out[j] = scale * static_cast<double>(j < 16 ? byte & 15u : byte >> 4) + low;
    }
  }
}

}  // namespace

void require_held(DType dtype, const Device& device) {
  if (!device.limits().holds(dtype)) {
    fail(ErrorKind::Unsupported, Subject::Device,
         "{} holds no {} tensors; keep them on the host or convert them to I32 or U32 first.",
         device.name(), dtype_name(dtype));
  }
}

uint64_t split_unit(const Shape& shape, DType dtype, const Limits& limits) {
  int64_t row = shape.elements();
  for (int axis = 0; axis < shape.rank(); ++axis) {
    if (shape[axis] <= 1) {
      continue;
    }
    const int64_t inner = row / shape[axis];
    // Blocks are never cut.
    if (inner < block_elements(dtype)) {
      break;
    }
    row = inner;
    const auto bytes = static_cast<uint64_t>(dtype_bytes(dtype, row));
    if (limits.max_binding_bytes == 0 || bytes <= limits.max_binding_bytes) {
      break;
    }
  }
  return static_cast<uint64_t>(dtype_bytes(dtype, std::max<int64_t>(row, 1)));
}

std::vector<std::byte> to_bytes(std::span<const double> values, DType dtype) {
  std::vector<std::byte> out(
      static_cast<size_t>(dtype_bytes(dtype, static_cast<int64_t>(values.size()))));
  const auto narrow = [](double v) { return static_cast<float>(v); };
  switch (dtype) {
    case DType::F32:
      store_all<float>(values, out.data(), narrow);
      break;
    case DType::F16:
      store_all<Float16>(values, out.data(), [&](double v) { return to_f16(narrow(v)); });
      break;
    case DType::BF16:
      store_all<BFloat16>(values, out.data(), [&](double v) { return to_bf16(narrow(v)); });
      break;
    case DType::U8:
      store_all<uint8_t>(values, out.data(), saturate<uint8_t>);
      break;
    case DType::I32:
      store_all<int32_t>(values, out.data(), saturate<int32_t>);
      break;
    case DType::U32:
      store_all<uint32_t>(values, out.data(), saturate<uint32_t>);
      break;
    case DType::I64:
      store_all<int64_t>(values, out.data(), saturate<int64_t>);
      break;
    default:
      fail(ErrorKind::Unsupported, Subject::Usage,
           "Numbers cannot be written as {}; quantised weights come from files.",
           dtype_name(dtype));
  }
  return out;
}

std::vector<double> to_doubles(std::span<const std::byte> bytes, DType dtype, int64_t elements) {
  std::vector<double> out(static_cast<size_t>(elements));
  if (is_quantized(dtype)) {
    const auto step = static_cast<size_t>(block_bytes(dtype));
    for (size_t block = 0; block < out.size() / 32; ++block) {
      decode_block(bytes.data() + block * step, dtype, out.data() + block * 32);
    }
    return out;
  }
  const auto step = static_cast<size_t>(block_bytes(dtype));
  for (size_t i = 0; i < out.size(); ++i) {
    const std::byte* at = bytes.data() + i * step;
    switch (dtype) {
      case DType::F32:
        out[i] = static_cast<double>(load<float>(at));
        break;
      case DType::F16:
        out[i] = f16_at(at);
        break;
      case DType::BF16:
        out[i] = static_cast<double>(to_float(load<BFloat16>(at)));
        break;
      case DType::U8:
        out[i] = load<uint8_t>(at);
        break;
      case DType::I32:
        out[i] = load<int32_t>(at);
        break;
      case DType::U32:
        out[i] = load<uint32_t>(at);
        break;
      default:
        out[i] = static_cast<double>(load<int64_t>(at));
        break;
    }
  }
  return out;
}

}  // namespace candela
