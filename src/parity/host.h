#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "tensor/tensor.h"

/// The same cases for every device: inputs made on the host, an op, a bound, a reference in double
/// precision. The tests, `doctor` and the support table walk them.
namespace candela::parity {

/// How an input lies on the device; its values are the same.
enum class Placement {
  Plain,
  Transposed,  ///< the last two dimensions swapped in memory
  Offset,      ///< behind an odd number of other elements
  Repeated,    ///< stride 0 along the first axis (whose rows are then made equal)
};

/// An input on the host: what the tensor holds exactly, as numbers.
struct Host {
  Shape shape;
  DType dtype = DType::F32;
  std::vector<double> values;
  std::vector<std::byte> blocks;  ///< of quantised inputs, else empty
  Placement placement = Placement::Plain;
};

/// Values rounded to `dtype`.
Host numbers(const Shape& shape, std::vector<double> values, DType dtype = DType::F32);
Host filled(const Shape& shape, double value, DType dtype = DType::F32);
/// Seeded; the same on every machine.
Host normal(const Shape& shape, uint64_t seed, DType dtype = DType::F32, double scale = 1.0);
Host uniform(const Shape& shape, double low, double high, uint64_t seed, DType dtype = DType::F32);
/// Normal with every 17th value twenty times as large.
Host outliers(const Shape& shape, uint64_t seed, DType dtype = DType::F32);
/// Whole numbers in [0, below).
Host integers(const Shape& shape, int64_t below, uint64_t seed, DType dtype = DType::U32);
/// Normal numbers put into blocks.
Host quantized(const Shape& shape, uint64_t seed, DType dtype, double scale = 1.0);

/// Normal numbers for a key/value cache of any type that it may have.
Host normal_cache(const Shape& shape, uint64_t seed, DType dtype);
/// `values` as a cache of this type holds them, whole rows of blocks.
std::vector<double> as_cached(const std::vector<double>& values, DType dtype);

/// The host array for a placement: for Repeated the rows of axis 0 become equal.
Host placed(Host host, Placement placement);

/// The array on a device, laid out as its placement says.
Tensor to_tensor(const Host& host, const Device& device);

/// The elements of a tensor of any dtype, row-major.
std::vector<double> values_of(const Tensor& tensor);

}  // namespace candela::parity
