#pragma once

#include <cstddef>
#include <vector>

#include "base/dtype.h"
#include "base/layout.h"

namespace candela {

/// Elements in host memory, row-major and gapless: what files exchange.
struct HostArray {
  DType dtype = DType::F32;
  Shape shape;
  std::vector<std::byte> bytes;
};

}  // namespace candela
