#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backend/deferred.h"
#include "backend/limits.h"
#include "backend/op_args.h"
#include "backend/storage.h"

namespace candela {

/// The only interface with two implementations (backend/cpu, backend/wgpu).
///
/// Ops are recorded and may run later; `download` and `synchronize` wait. Arguments are checked by
/// tensor/, so shapes fit and dtypes are plausible; a backend rejects only what it cannot do, with
/// Unsupported and the op's name. Outputs never share storage with inputs unless a comment says
/// so. Every op takes any strides and offsets unless a comment says "contiguous", and empty
/// tensors. Sums are accumulated in F32 or better.
class Backend {
 public:
  virtual ~Backend() = default;

  virtual DeviceKind kind() const = 0;
  /// For people: "cpu (2 threads, avx2)", "NVIDIA H100 (Vulkan, Dawn)".
  virtual std::string name() const = 0;
  virtual const Limits& limits() const = 0;
  virtual Counters& counters() = 0;
  /// Device time by kernel since the last call, longest first; empty where nothing is measured.
  virtual std::vector<KernelTime> take_profile() { return {}; }

  // --- Memory -----------------------------------------------------------------------------
  /// Uninitialised memory, split between units of `split_unit` bytes if one binding cannot hold
  /// it. `label` names it in error messages.
  /// @throws OutOfMemory, Unsupported (one unit exceeds a binding)
  virtual StoragePtr allocate(uint64_t bytes, uint64_t split_unit, const std::string& label) = 0;
  /// One tensor whose bytes are the given pieces of host memory, one after the other, to be read
  /// only. A backend that can read them in place keeps `owner` alive instead of copying; the pieces
  /// are then cut points like `split_unit`. Without an owner the pieces live as long as the
  /// storage.
  /// @param unit  Bytes of an element or block. Pieces in which these are not aligned are copied.
  /// @throws Io, CorruptData  what `owner` throws when it is read
  virtual Imported import_host(std::span<const HostPiece> pieces,
                               std::shared_ptr<const HostMemory> owner,
                               uint64_t split_unit,
                               uint64_t unit,
                               const std::string& label) = 0;
  /// Where import_host puts what comes from files; asks the driver at the first call.
  /// @throws Unsupported  The place that was asked for is none on this device.
  virtual WeightPlace weight_place() = 0;
  /// Any offsets and sizes, also such that are no multiples of four.
  virtual void upload(const StoragePtr& to, uint64_t offset, HostPiece data) = 0;
  virtual void download(const StoragePtr& from, uint64_t offset, std::span<std::byte> data) = 0;
  /// Begins a read-back of what was recorded so far leaves at [offset, offset + bytes), multiples
  /// of 4, and hands it to the device; work recorded later does not wait for it.
  virtual std::unique_ptr<Readback> read_later(const StoragePtr& from,
                                               uint64_t offset,
                                               uint64_t bytes);
  /// Records what `work` asks for instead of running it. Tensors that `work` makes stay alive and
  /// are written anew by every replay; it must not upload, read back or copy between buffers.
  /// Null where nothing is gained by it (CPU): then `work` was not called.
  virtual std::shared_ptr<const Captured> capture(const std::function<void()>& work);
  /// Runs captured work and hands it to the device.
  virtual void replay(const Captured& work);
  /// Hands everything recorded to the device.
  virtual void flush() = 0;
  /// Waits until everything recorded has run; throws what the device reported meanwhile.
  virtual void synchronize() = 0;

  // --- Primitives: every backend implements these -------------------------------------------
  /// y = value, in y's dtype (BF16 and F16 round to nearest even).
  virtual void fill(const View& y, double value) = 0;
  /// Strided copy with conversion among the dtypes the device holds; also dequantises blocks
  /// (x contiguous) to F32, F16 or BF16. Float to integer truncates and saturates.
  virtual void copy(const View& x, const View& y) = 0;
  /// F32, F16 and BF16 inputs and outputs in any mix; computed in F32.
  virtual void unary(UnaryKind kind, float a, float b, const View& x, const View& y) = 0;
  /// Inputs already broadcast to y's shape. Floats in any mix, computed in F32; or I32/U32 alike
  /// (add, sub, mul, maximum, minimum).
  virtual void binary(BinaryKind kind, const View& x1, const View& x2, const View& y) = 0;
  /// y U32 0 or 1. Floats in any mix or integers alike.
  virtual void compare(CompareKind kind, const View& x1, const View& x2, const View& y) = 0;
  /// y = condition != 0 ? on_true : on_false; condition U32, values and y of one dtype.
  virtual void where(const View& condition,
                     const View& on_true,
                     const View& on_false,
                     const View& y) = 0;
  /// Over the last dimension of x; y has x's shape without it. Floats to F32. An empty dimension
  /// sums to 0; mean, max and min of it are rejected by the caller.
  virtual void reduce(ReduceKind kind, const View& x, const View& y) = 0;
  /// Index (U32) of the largest or smallest element of the last dimension; the first of equals.
  /// A row that holds a NaN gives 2^32 - 1.
  virtual void arg_reduce(ReduceKind kind, const View& x, const View& y) = 0;
  /// Running sum over the last dimension, F32.
  virtual void cumsum(const View& x, const View& y) = 0;
  /// The k largest of the last dimension, largest first, the lower index first among equals.
  /// values F32 and indices U32 have k as last dimension; k <= 64.
  virtual void top_k(const View& x, const View& values, const View& indices) = 0;
  /// y[..., m, n] = sum_k a[..., m, k] * b[..., k, n]; equal batch dimensions (broadcast by stride
  /// 0). a and b F32, F16 or BF16 in any mix; y F32.
  virtual void matmul(const View& a, const View& b, const View& y) = 0;
  /// y[i, ...] = table[ids[i], ...]; ids U32 of rank 1. The table may be segmented or quantised
  /// (then contiguous). y has the table's dtype or F32. Ids outside of the table give zeros on the
  /// GPU; the CPU throws InvalidArgument.
  virtual void gather_rows(const View& table, const View& ids, const View& y) = 0;
  /// y[ids[i], ...] = x[i, ...], converting to y's dtype. Distinct ids; ids outside are skipped on
  /// the GPU, InvalidArgument on the CPU. y keeps its other rows.
  virtual void write_rows(const View& x, const View& ids, const View& y) = 0;
  /// y[.., i, ..] = x[.., index[.., i, ..], ..] along `axis`; index U32 of y's shape.
  virtual void gather(const View& x, int axis, const View& index, const View& y) = 0;
  /// y[.., index[.., i, ..], ..] += x[.., i, ..] along `axis`, in ascending i; F32.
  virtual void scatter_add(const View& x, int axis, const View& index, const View& y) = 0;
  virtual void conv1d(const Conv1dArgs& args, const View& y) = 0;
  virtual void conv2d(const Conv2dArgs& args, const View& y) = 0;
  virtual void conv_transpose1d(const ConvTranspose1dArgs& args, const View& y) = 0;
  /// Philox4x32-10, the same numbers on every device: element i of y (row-major) depends on
  /// (seed, i) alone. Uniform in [a, b) or normal with mean a and deviation b. y F32 or BF16.
  virtual void random(RandomKind kind, uint64_t seed, float a, float b, const View& y) = 0;

  // --- Fused: correct by default (backend/fused.cpp), faster where overridden ----------------
  /// Over the last dimension, F32. Elements that are -inf count as masked; a row without any other
  /// element becomes zeros.
  virtual void softmax(const View& x, const View& y);
  virtual void log_softmax(const View& x, const View& y);
  /// y = x / sqrt(mean(x^2) + eps) * weight over the last dimension.
  virtual void rms_norm(const View& x, const View& weight, float eps, const View& y);
  virtual void layer_norm(
      const View& x, const View& weight, const View& bias, float eps, const View& y);
  virtual void rope(const RopeArgs& args, const View& y);
  /// y = silu(gate) * up.
  virtual void swiglu(const View& gate, const View& up, const View& y);
  virtual void linear(const LinearArgs& args, const View& y);
  virtual void attention(const AttentionArgs& args, const View& y);
  /// Puts new keys or values into a paged cache: cache[slots[t] / page, h, slots[t] % page, :] =
  /// x[t, h, :]. x F32 [tokens, kv_heads, dim]; slots U32 [tokens]; cache F32, BF16, F16 (numbers
  /// beyond its range become its largest) or Q8_16 [pages, kv_heads, page, dim], contiguous.
  virtual void kv_write(const View& x, const View& slots, const View& cache);
  /// rope, kv_write and attention in one; spares launches where `lone` allows it.
  virtual void rope_attention(const RopeAttentionArgs& args, const View& y);
  virtual void moe_route(const MoeRouteArgs& args, const View& experts, const View& weights);
  virtual void moe(const MoeArgs& args, const View& y);
  virtual void moe_block(const MoeBlockArgs& args, const View& y);
  /// ids U32 [rows]; 2^32 - 1 for a row that holds a NaN.
  virtual void sample(const SampleArgs& args, const View& ids);
  /// Changes args.logits and args.marks.
  virtual void penalise(const PenaliseArgs& args);
  /// y = x + sin(exp(alpha) x)^2 / (exp(beta) + 1e-9), x [batch, channels, time], alpha and beta
  /// [channels]. Source: SnakeBeta of Qwen3-Omni's code2wav.
  virtual void snake_beta(const View& x, const View& alpha, const View& beta, const View& y);

 protected:
  /// The x of a linear op after its norm, if it has one.
  View normed(const LinearArgs& args);
};

/// The backend whose memory `view` lies in is known to the tensor, not to the view; this helper
/// makes an F32 scratch view for default bodies.
View scratch(Backend& backend, const Shape& shape, DType dtype = DType::F32);

}  // namespace candela
