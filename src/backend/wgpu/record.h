#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "backend/wgpu/kernel.h"

namespace candela::wgpu {

class Context;
class Stream;

/// Saves every dispatch for debugging: folder 000000, 000001, ... with `dispatch.txt` (kernel,
/// defines, substitutions, params, grid, one word a line) and the bytes of each operand before and
/// after it. Slow: each dispatch waits.
class Recorder {
 public:
  explicit Recorder(const std::string& folder);

  void before(Stream& stream,
              const KernelId& kernel,
              const Grid& grid,
              std::span<const std::byte> params,
              std::span<const Operand> operands);
  void after(Stream& stream, std::span<const Operand> operands);

 private:
  std::filesystem::path root_;
  std::filesystem::path current_;
  uint32_t next_ = 0;
};

struct ReplayResult {
  std::string kernel;
  uint64_t bytes = 0;      ///< of written operands
  uint64_t different = 0;  ///< bytes that differ from what was recorded
};

/// Runs one recorded dispatch again, from the same operand bytes, and compares.
/// @param folder  one numbered folder of a recording
/// @throws Io, CorruptData
ReplayResult replay(Context& context, Stream& stream, const std::string& folder);

}  // namespace candela::wgpu
