#include "parity/host.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>
#include <random>

#include "base/q8.h"
#include "tensor/transfer.h"

namespace candela::parity {

namespace {

constexpr double kJunk = 7.0;
constexpr int64_t kOddOffset = 3;

// std's distributions differ among libraries, so only the engine is used.
class Numbers {
 public:
  explicit Numbers(uint64_t seed) : engine_(seed * 0x9e3779b97f4a7c15u + 1u) {}

  double uniform() { return static_cast<double>(engine_() >> 11) * 0x1p-53; }
  double normal() {
    const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
    return radius * std::cos(2.0 * std::numbers::pi * uniform());
  }

 private:
  std::mt19937_64 engine_;
};

template <typename Make>
Host made(const Shape& shape, DType dtype, Make make) {
  std::vector<double> values(static_cast<size_t>(shape.elements()));
  std::ranges::generate(values, make);
  return numbers(shape, std::move(values), dtype);
}

void append_f16(std::vector<std::byte>& out, double value) {
  const Float16 half = to_f16(static_cast<float>(value));
  out.push_back(static_cast<std::byte>(half.bits & 0xffu));
  out.push_back(static_cast<std::byte>(half.bits >> 8));
}

unsigned nibble(double value) {
  return static_cast<unsigned>(std::clamp(std::lround(value), 0L, 15L));
}

/// The scales of every `part` numbers, then a signed byte for each.
void append_bytes(std::vector<std::byte>& out, std::span<const double> block, size_t part) {
  std::vector<double> sizes;
  for (size_t at = 0; at < block.size(); at += part) {
    const auto [low, high] = std::ranges::minmax(block.subspan(at, part));
    sizes.push_back(std::max(std::fabs(low), std::fabs(high)));
    append_f16(out, sizes.back() / 127.0);
  }
  for (size_t j = 0; j < block.size(); ++j) {
    const double size = sizes[j / part];
    const long q = size == 0.0 ? 0 : std::clamp(std::lround(block[j] * 127.0 / size), -127L, 127L);
    out.push_back(static_cast<std::byte>(q & 0xff));
  }
}

void append_block(std::vector<std::byte>& out, std::span<const double> block, DType dtype) {
  if (dtype == DType::Q8_0 || dtype == DType::Q8_16) {
    append_bytes(out, block, dtype == DType::Q8_0 ? 32 : 16);
    return;
  }
  const auto [low, high] = std::ranges::minmax(block);
  const double size = std::max(std::fabs(low), std::fabs(high));
  const bool with_minimum = dtype == DType::Q4_1;
  const double scale = with_minimum ? (high - low) / 15.0 : size / 8.0;
  const double start = with_minimum ? low : -size;
  append_f16(out, scale);
  if (with_minimum) {
    append_f16(out, low);
  }
  for (size_t j = 0; j < 16; ++j) {
    const double step = scale == 0.0 ? 1.0 : scale;
    const unsigned first = nibble((block[j] - start) / step);
    const unsigned second = nibble((block[j + 16] - start) / step);
    out.push_back(static_cast<std::byte>(first | second << 4));
  }
}

// Swaps the last two dimensions of the values.
std::vector<double> swapped(const Host& host) {
  const auto rows = static_cast<size_t>(host.shape[-2]);
  const auto cols = static_cast<size_t>(host.shape[-1]);
  std::vector<double> out(host.values.size());
  for (size_t base = 0; base < out.size(); base += rows * cols) {
    for (size_t i = 0; i < rows * cols; ++i) {
      out[base + i % cols * rows + i / cols] = host.values[base + i];
    }
  }
  return out;
}

}  // namespace

Host numbers(const Shape& shape, std::vector<double> values, DType dtype) {
  Host host;
  host.shape = shape;
  host.dtype = dtype;
  host.values = to_doubles(to_bytes(values, dtype), dtype, shape.elements());
  return host;
}

Host filled(const Shape& shape, double value, DType dtype) {
  return numbers(shape, std::vector<double>(static_cast<size_t>(shape.elements()), value), dtype);
}

Host normal(const Shape& shape, uint64_t seed, DType dtype, double scale) {
  Numbers random(seed);
  return made(shape, dtype, [&] { return scale * random.normal(); });
}

Host uniform(const Shape& shape, double low, double high, uint64_t seed, DType dtype) {
  Numbers random(seed);
  return made(shape, dtype, [&] { return low + (high - low) * random.uniform(); });
}

Host outliers(const Shape& shape, uint64_t seed, DType dtype) {
  Numbers random(seed);
  int count = 0;
  return made(shape, dtype, [&] { return random.normal() * (++count % 17 == 0 ? 20.0 : 1.0); });
}

Host integers(const Shape& shape, int64_t below, uint64_t seed, DType dtype) {
  Numbers random(seed);
  return made(shape, dtype,
              [&] { return std::floor(random.uniform() * static_cast<double>(below)); });
}

Host quantized(const Shape& shape, uint64_t seed, DType dtype, double scale) {
  const Host plain = normal(shape, seed, DType::F32, scale);
  Host host;
  host.shape = shape;
  host.dtype = dtype;
  for (size_t at = 0; at < plain.values.size(); at += 32) {
    append_block(host.blocks, std::span(plain.values).subspan(at, 32), dtype);
  }
  host.values = to_doubles(host.blocks, dtype, shape.elements());
  return host;
}

Host normal_cache(const Shape& shape, uint64_t seed, DType dtype) {
  return is_quantized(dtype) ? quantized(shape, seed, dtype) : normal(shape, seed, dtype);
}

std::vector<double> as_cached(const std::vector<double>& values, DType dtype) {
  const auto count = static_cast<int64_t>(values.size());
  if (dtype == DType::F16) {
    std::vector<double> within = values;
    for (double& value : within) {
      value = std::clamp(value, -65504.0, 65504.0);
    }
    return numbers(Shape{count}, within, dtype).values;
  }
  if (dtype != DType::Q8_16) {
    return numbers(Shape{count}, values, dtype).values;
  }
  const std::vector<float> floats(values.begin(), values.end());
  std::vector<std::byte> blocks(static_cast<size_t>(dtype_bytes(dtype, count)));
  for (size_t i = 0; i < floats.size(); i += 32) {
    to_q8_16(&floats[i], &blocks[i / 32 * 36]);
  }
  return to_doubles(blocks, dtype, count);
}

Host placed(Host host, Placement placement) {
  const int rank = host.shape.rank();
  const bool fits = host.blocks.empty() &&
                    !(placement == Placement::Transposed && (rank < 2 || host.values.empty())) &&
                    !(placement == Placement::Repeated && (rank < 1 || host.values.empty()));
  if (!fits) {
    return host;
  }
  host.placement = placement;
  if (placement == Placement::Repeated) {
    const size_t row = host.values.size() / static_cast<size_t>(host.shape[0]);
    for (size_t i = row; i < host.values.size(); ++i) {
      host.values[i] = host.values[i - row];
    }
  }
  return host;
}

Tensor to_tensor(const Host& host, const Device& device) {
  if (!host.blocks.empty() || is_quantized(host.dtype)) {
    return Tensor::from_bytes(host.blocks, host.shape, host.dtype, device);
  }
  const auto upload = [&](const Shape& shape, std::span<const double> values) {
    return Tensor::from_bytes(to_bytes(values, host.dtype), shape, host.dtype, device);
  };
  switch (host.placement) {
    case Placement::Plain:
      break;
    case Placement::Transposed: {
      Shape shape = host.shape;
      std::swap(shape[-1], shape[-2]);
      return upload(shape, swapped(host)).transpose(-1, -2);
    }
    case Placement::Offset: {
      std::vector<double> values(static_cast<size_t>(kOddOffset), kJunk);
      values.insert(values.end(), host.values.begin(), host.values.end());
      values.push_back(kJunk);
      const Tensor all = upload(Shape{static_cast<int64_t>(values.size())}, values);
      return all.narrow(0, kOddOffset, host.shape.elements()).reshape(host.shape);
    }
    case Placement::Repeated: {
      Shape shape = host.shape;
      shape[0] = 1;
      const auto row = static_cast<size_t>(shape.elements());
      return upload(shape, std::span(host.values).first(row)).broadcast_to(host.shape);
    }
  }
  return upload(host.shape, host.values);
}

std::vector<double> values_of(const Tensor& tensor) {
  return to_doubles(tensor.to_bytes(), tensor.dtype(), tensor.elements());
}

}  // namespace candela::parity
