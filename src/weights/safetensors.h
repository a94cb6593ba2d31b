#pragma once

#include <string>
#include <utility>
#include <vector>

#include "weights/source.h"

namespace candela {

/// What the header of a safetensors file says.
struct Safetensors {
  std::vector<WeightInfo> tensors;  ///< in the order of their bytes
  std::vector<std::pair<std::string, std::string>> metadata;
};

/// Headers beyond this size are refused, as by the reference implementation.
inline constexpr uint64_t kMaxSafetensorsHeader = 100'000'000;

/// Reads the header of a whole file in memory. Nothing is copied; the result points into `file`.
///
/// Checked before anything is believed: header length, UTF-8, JSON, duplicate names, dtypes, sizes
/// against dtype and shape, and that the tensors cover the data without gap or overlap.
///
/// @param name  The file's name; it must live as long as the result.
/// @throws CorruptData, and Unsupported for a dtype or rank that candela lacks.
/// @source huggingface/safetensors, format description in README.md
Safetensors parse_safetensors(HostPiece file, std::string_view name);

}  // namespace candela
