#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "backend/backend.h"
#include "backend/wgpu/kernel.h"

namespace candela::wgpu {

/// A view as rows of its last dimension, which lies gapless; the leading dimensions have one
/// common stride.
struct Rows {
  uint32_t rows = 0;
  uint32_t cols = 0;
  uint32_t offset = 0;
  uint32_t stride = 0;

  /// Whether 16-byte loads of F32 are possible, eight columns at a time.
  bool vec4() const { return cols % 8 == 0 && offset % 4 == 0 && (rows < 2 || stride % 4 == 0); }
};

/// False if the strides of the leading dimensions differ or the last one has gaps.
bool as_rows(const View& view, Rows& out);
/// Rows of a view that is known to have them. @throws Internal
Rows rows_of(const View& view);

/// `view` itself if it is of `dtype` and consists of rows, else a gapless copy.
View with_rows(Backend& backend, const View& view, DType dtype = DType::F32);
/// `view` itself if it is gapless (and of `dtype`, if given), else a gapless copy.
View dense(Backend& backend, const View& view);
View dense(Backend& backend, const View& view, DType dtype);
/// Fresh gapless memory for intermediate results.
View temporary(Backend& backend, const Shape& shape, DType dtype = DType::F32);

/// Where an op writes: the target itself if it consists of F32 rows, else scratch memory that
/// `finish` copies to the target.
class RowTarget {
 public:
  RowTarget(Backend& backend, const View& target);
  const View& view() const { return view_; }
  void finish();

 private:
  Backend& backend_;
  View target_;
  View view_;
  bool copied_ = false;
};

/// Bindings of tensors that no kernel reads piece by piece: activations, ids, small weights.
/// @throws Unsupported  The tensor lies in several segments.
Operand whole_in(const View& view);
Operand whole_out(const View& view);

/// Number of a float dtype in reals.wgsl: 0 F32, 1 BF16, 2 F16.
uint32_t real_kind(DType dtype, const char* op);

/// Whether kernels may use subgroups, of whatever size the driver gives them within the limits.
bool use_subgroups(const Limits& limits);
/// The same, and the size is known when the kernel is compiled: {{SUBGROUP_SIZE}}.
bool one_subgroup_size(const Limits& limits);
/// Results a workgroup of 256 makes if each takes one subgroup, without subgroups 32 threads.
uint32_t rows_a_workgroup(const Limits& limits);
/// For kernels whose sums are made by teams of `team` threads: SUBGROUPS where they may use them,
/// and COMBINE where a team may be several subgroups.
void define_subgroups(KernelId& kernel, const Limits& limits, uint32_t team);

/// The rows of a weight that lie in one segment.
struct WeightPiece {
  size_t segment = 0;
  uint32_t begin = 0, end = 0;  ///< rows, counted over all leading dimensions
  uint32_t start = 0;           ///< of row `begin` in the segment, in elements or blocks
};

/// A weight of any dtype as rows of its last dimension, piece by piece.
struct Weight {
  uint32_t rows = 0;
  uint32_t cols = 0;
  uint32_t stride = 0;  ///< from row to row, in elements or blocks
  DType dtype = DType::F32;
  bool vec4 = false;  ///< all rows begin at multiples of 16 bytes and hold whole groups of eight
  std::vector<WeightPiece> pieces;

  bool is_whole() const { return pieces.size() == 1; }
};

/// @throws Unsupported  A row straddles segments, or a block format has broken blocks.
Weight weight_rows(const View& weight, const char* op);

/// Of `rows` rows of x times a piece of a weight.
Work product_work(uint64_t rows, const Weight& weight, const WeightPiece& piece);

/// Adds the define of weight.wgsl that names the dtype.
void define_weight(KernelId& kernel, DType dtype, bool vec4);
/// A size that a kernel's text names {{name}}: a number, or else `field`, where its params hold it.
struct SizeText {
  const char* name;
  const char* field;
  uint32_t value;
};
/// Gives a kernel its sizes: as numbers if `fixed`, which spares it the wait for its params. Part
/// of a pipeline's key, so only for sizes of large weights, of which a model has few.
void define_sizes(KernelId& kernel, bool fixed, std::initializer_list<SizeText> sizes);
/// Whether a weight is so large, and lies so, that its sizes may be fixed.
bool has_fixed_sizes(const Weight& weight);
/// {{ROUND}}: steps of eight columns that each thread of a team makes in a loop of fixed length, at
/// most `longest`; they divide the columns.
void define_round(KernelId& kernel, uint32_t cols, uint32_t team, uint32_t longest);
/// Whether norm8.wgsl can read this norm weight.
bool norm_by_eights(const View& weight);
/// The texts that kernels with two weights put into their bindings: W_TYPE, W_READ, X_TYPE.
void substitute_types(KernelId& kernel, bool weight_vec4, bool x_vec4);
/// Both for a kernel that reads F16 or BF16 weights by four (W_PAIR), and x by 16 bytes.
void define_pairs(KernelId& kernel, DType dtype);

}  // namespace candela::wgpu
