#pragma once

#include <string>
#include <string_view>

#include "tensor/tensor.h"
#include "weights/host_array.h"

namespace candela {

/// Reads a .npy file in memory: versions 1 to 3, C order, little endian. dtypes f4, f2, i4, u4, i8,
/// u1 and b1 (as U8); numpy has no BF16, so u2 is taken for BF16 bits.
///
/// @param name  For messages.
/// @throws CorruptData, and Unsupported for other dtypes, byte orders and Fortran order.
/// @source numpy.lib.format
HostArray parse_npy(HostPiece file, std::string_view name);

/// The reverse of parse_npy, version 1. @throws Unsupported for block formats
std::vector<std::byte> encode_npy(const HostArray& array);

/// @throws as parse_npy, NotFound, Io
Tensor read_npy(const std::string& path, const Device& device);
/// @throws Io
void write_npy(const std::string& path, const Tensor& tensor);

}  // namespace candela
