#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "backend/storage.h"
#include "backend/wgpu/kernel.h"
#include "backend/wgpu/stream.h"

namespace candela::wgpu {

/// Params of kernels/walk.wgsl.
struct ElementParams {
  uint32_t sizes[8] = {1, 1, 1, 1, 1, 1, 1, 1};  ///< innermost first
  uint32_t strides[6][4] = {};                   ///< [dimension][x0, x1, x2, y]
  uint32_t offsets[4] = {};
  uint32_t kinds[4] = {};
  uint32_t count = 0;
  uint32_t rank = 1;
  float a = 0, b = 0;
};

/// Number of a dtype in kernels/reals_any.wgsl and copy.wgsl.
/// @throws Unsupported  The device holds no such tensors.
uint32_t kind_of(DType dtype);

/// An op that computes y element by element from up to three inputs of its shape.
struct ElementOp {
  /// @throws Unsupported naming `op`: a view straddles segments
  ElementOp(const char* op, std::initializer_list<View> inputs, const View& y);

  /// Adds the define and the substitutions that walk.wgsl wants and records the dispatch.
  void run(Stream& stream,
           const char* kernel,
           std::vector<std::string> defines = {},
           std::vector<std::pair<std::string, std::string>> substitutions = {});

  ElementParams params;
  const char* store = "Y_WORD";
  std::vector<Operand> operands;
};

}  // namespace candela::wgpu
