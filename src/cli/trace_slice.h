#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tensor/tensor.h"
#include "weights/host_array.h"

namespace candela::cli {

/// Keeps part of an array as a Python slice does: "::4, :" keeps every fourth row. Each dimension
/// is start:stop:step with optional non-negative parts.
/// @throws CorruptData about the input if the text has another form
HostArray slice_array(const HostArray& array, const std::string& slices);

HostArray to_host(const Tensor& tensor);
HostArray float_array(const std::vector<float>& values, const Shape& shape);
HostArray integer_array(const std::vector<int64_t>& values, const Shape& shape);

}  // namespace candela::cli
