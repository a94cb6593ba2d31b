#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace candela::wgpu {

class WgpuBackend;

/// Kernel shapes that differ from GPU to GPU in what is fastest, never in what is computed. The
/// defaults are good ones.
struct Tuning {
  /// Subgroups that share a weight row of matrices with few rows.
  uint32_t short_matrix_subgroups = 4;
  /// Rows that a workgroup of moe_one_down makes.
  uint32_t expert_down_rows = 4;
  /// Subgroups that share a weight row in moe_one_gate_up.
  uint32_t expert_gate_up_subgroups = 1;
  /// Experts of prompts: 1 dispatches exactly the tiles that routing made (indirectly; WebGPU
  /// checks each such dispatch, which takes some libraries and drivers half a millisecond), 0 as
  /// many as there can be.
  uint32_t counted_expert_tiles = 0;

  bool operator==(const Tuning&) const = default;
};

/// One field of Tuning with the values it may take.
struct TuningField {
  const char* name;
  uint32_t Tuning::* value;
  std::vector<uint32_t> choices;
};
std::span<const TuningField> tuning_fields();

/// Times every choice of every field with the ops it matters for, one field after the other, and
/// returns the fastest. Takes well below a second of a discrete GPU's time.
Tuning measure_tuning(WgpuBackend& backend);

/// The defaults but for what "NAME=VALUE,NAME=VALUE" says.
/// @throws InvalidArgument  No such field or choice.
Tuning parse_tuning(const std::string& text);

/// "$XDG_CACHE_HOME/candela/tuning/<adapter, driver, library>.txt"
std::string tuning_file(const WgpuBackend& backend);
/// False if there is no such file or it does not name every field with one of its choices.
bool read_tuning(const std::string& file, Tuning& tuning);
/// Best effort: a cache that cannot be written is measured again next time.
void write_tuning(const std::string& file, const Tuning& tuning);

}  // namespace candela::wgpu
