#pragma once

#include <functional>
#include <string>
#include <vector>

#include "parity/host.h"

namespace candela::parity {

using Hosts = std::vector<Host>;
using Tensors = std::vector<Tensor>;
using Numbers = std::vector<double>;

/// How far a device may be from the reference. An output passes if it is within nmse and
/// max_over_rms, or if every element is within relative and absolute.
struct Bound {
  double nmse = 0.0;
  double max_over_rms = 0.0;
  double relative = 0.0;
  double absolute = 0.0;
};

/// Sums of products in F32, any order: the exact precision class.
inline constexpr Bound kExact{1e-10, 1e-4, 0.0, 0.0};
/// Activations rounded to one F16 term: the fast class of matrix products on WebGPU.
inline constexpr Bound kFastF16{1e-6, 1e-2, 0.0, 0.0};
/// To one BF16 term, experts' hidden rows as well: that of the CPU.
inline constexpr Bound kFastBf16{1e-4, 5e-2, 0.0, 0.0};
/// WGSL bounds exp, log, sin and their kin only loosely: 16 units in the last place.
inline constexpr Bound kExp{0.0, 0.0, 16.0 * 0x1p-23, 1e-6};
/// One rounding of an F32 result.
inline constexpr Bound kRounded{0.0, 0.0, 3.0 * 0x1p-23, 1e-37};
inline constexpr Bound kBits{};

struct Case {
  std::string name;          ///< "op/what", unique
  std::string op;            ///< as in tensor/ops.h or the method of Tensor
  DType dtype = DType::F32;  ///< the column of the support table
  std::function<Hosts()> inputs;
  /// May change its arguments in place; they are made anew for every run.
  std::function<Tensors(const Tensors&, const Device&)> run;
  /// Expected values of each output. Empty: the CPU backend's.
  std::function<std::vector<Numbers>(const Hosts&)> reference;
  Bound bound = kExact;
  bool basic = false;  ///< belongs to the quick selection
};

/// Every case of candela, by op family.
const std::vector<Case>& all_cases();

struct Outcome {
  enum class Status { Passed, Failed, Unsupported };
  Status status = Status::Passed;
  std::string message;  ///< why it failed; empty if it passed
  double seconds = 0.0;
};

/// Runs one case on a device and judges its outputs, in the fast class by kFastF16 or
/// kFastBf16 if that is wider.
/// Never throws candela::Error.
Outcome run_case(const Case& what, const Device& device, Precision precision = Precision::Exact);

/// A seeded program of about twenty ops on small tensors, on both devices, compared after each
/// step. Returns what went wrong with the whole program as text, or nothing.
std::string run_program(uint64_t seed, const Device& device, const Device& other);

// --- For the tables
// -------------------------------------------------------------------------------

using Table = std::vector<Case>;

/// Adds the case and the same with every input transposed, at an odd offset and with stride 0.
void add_with_layouts(Table& table, const Case& what);

void add_elementwise(Table& table);
void add_shape(Table& table);
void add_reduce(Table& table);
void add_index(Table& table);
void add_linalg(Table& table);
void add_conv(Table& table);
void add_fused(Table& table);
void add_attention(Table& table);
void add_rope_attention(Table& table);  ///< part of add_attention

}  // namespace candela::parity
