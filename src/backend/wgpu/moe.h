#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "backend/wgpu/matrix.h"
#include "backend/wgpu/rows.h"
#include "backend/wgpu/stream.h"

namespace candela::wgpu {

class WgpuBackend;

/// One run of the op `moe`: everything its dispatches share. Activations are gapless.
struct MoeRun {
  Stream& stream;
  const Limits& limits;
  View x, experts, weights;
  std::optional<View> residual;
  View gate_view, up_view, down_view;
  Weight gate, up, down;
  uint32_t tokens, k, pairs, hidden, inner, expert_count;
  Precision precision;
  std::optional<MatrixTerms> x_terms = {};  ///< of x, if they were made already
};
MoeRun moe_run(WgpuBackend& backend, const MoeArgs& args);

/// Rows that lie in one segment of both gate and up.
struct MoeBoth {
  uint32_t begin = 0, end = 0;
  size_t gate_segment = 0, up_segment = 0;
  uint32_t gate_start = 0, up_start = 0;
};

std::vector<MoeBoth> moe_both(const Weight& gate, const Weight& up);

/// How the products of experts are cut: pairs of a tile, and rows of results that a workgroup makes
/// of gate and up, of down.
struct MoeCut {
  uint32_t pairs, wide_rows, narrow_rows;
};

/// What moe_group writes: the number of tiles, the tiles, the pairs in order of experts, two grids.
struct MoePlan {
  View view;
  uint32_t order_offset;
  /// Blocks of rows times tiles, for gate and up, for down: of as many tiles as there can be, or
  /// counted (see Tuning).
  Grid wide, narrow;
};

MoePlan moe_plan(const MoeRun& run, WgpuBackend& backend, const MoeCut& cut);

/// y[t] = residual[t] + sum_j weights[t, j] * part[t * k + j], j ascending.
void moe_combine(const MoeRun& run, const View& part, const View& y);

/// Of one matrix of the experts, or of gate and up, of which a dispatch takes `rows` rows of all
/// experts. Experts that are read: as many as even routing would choose.
Work expert_work(const MoeRun& run, const Weight& weight, bool gate_up, uint32_t rows);

/// moe_block for one token in three dispatches; false if the operands do not suit it.
bool moe_one(WgpuBackend& backend, const MoeBlockArgs& args, const View& y);

/// Whether moe_many can do it: several tokens, not more experts than moe_group sorts.
bool moe_is_many(const MoeRun& run);
/// The op for several tokens: the pairs are sorted by expert, so that each expert's weights are
/// read once for all of its tokens (once a tile, where it has many).
void moe_many(const MoeRun& run, WgpuBackend& backend, const View& y);

/// Whether so many tokens are worth matrix cores, and moe_group sorts so many experts.
bool moe_wants_matrix(uint32_t tokens, int64_t experts);
/// The same on matrix cores, for BF16 weights. The class decides between one term of x and two.
bool moe_has_matrix(const Limits& limits, const Weight& gate, const Weight& up, const Weight& down);
void moe_matrix(const MoeRun& run, WgpuBackend& backend, const View& y);
/// Pairs and rows of weights of a workgroup: with one term of x, with two.
inline constexpr MatrixTile kMoeFastTile{64, 256, 64, 32};
inline constexpr MatrixTile kMoeExactTile{64, 128, 32, 32};
/// Its kernel for one or two terms of x with so many columns.
KernelId moe_matrix_kernel(const MatrixTile& tile, uint32_t terms, bool gate_up, uint32_t cols);

inline uint32_t moe_offset(const View& view) {
  return narrow_u32(view.layout.offset, "an offset of moe");
}

inline uint64_t moe_blocks(uint64_t count, uint64_t size) {
  return (count + size - 1) / size;
}

/// Whether rows of `cols` F32 can be read sixteen bytes at a time.
inline bool moe_vec4(const View& view, uint32_t cols) {
  return cols % 8 == 0 && view.layout.offset % 4 == 0;
}

}  // namespace candela::wgpu
