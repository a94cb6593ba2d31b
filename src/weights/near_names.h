#pragma once

#include <string>

#include "weights/source.h"

namespace candela {

/// "; similar: a, b, c" with up to three names that end like `wanted`, best first; else "".
std::string near_names_hint(const std::vector<WeightInfo>& tensors, std::string_view wanted);

}  // namespace candela
