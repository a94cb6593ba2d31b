#pragma once

#include <memory>
#include <string>

#include "backend/backend.h"
#include "backend/device.h"
#include "backend/wgpu/context.h"
#include "backend/wgpu/stream.h"
#include "backend/wgpu/tuning.h"
#include "backend/wgpu/weight_loader.h"

namespace candela::wgpu {

struct MatrixTerms;

/// WebGPU: each override chooses a kernel variant, fills its params and records one dispatch (one
/// per segment for ops that read weights). Implemented by family: memory.cpp, copy.cpp,
/// elementwise.cpp, reduce.cpp, norm.cpp, index.cpp, matmul.cpp, attention.cpp, moe.cpp, conv.cpp.
class WgpuBackend final : public Backend {
 public:
  explicit WgpuBackend(const WgpuOptions& options);
  ~WgpuBackend() override;

  DeviceKind kind() const override { return DeviceKind::Wgpu; }
  std::string name() const override;
  const Limits& limits() const override;
  Counters& counters() override;
  std::vector<KernelTime> take_profile() override;

  StoragePtr allocate(uint64_t bytes, uint64_t split_unit, const std::string& label) override;
  Imported import_host(std::span<const HostPiece> pieces,
                       std::shared_ptr<const HostMemory> owner,
                       uint64_t split_unit,
                       uint64_t unit,
                       const std::string& label) override;
  WeightPlace weight_place() override;
  void upload(const StoragePtr& to, uint64_t offset, HostPiece data) override;
  void download(const StoragePtr& from, uint64_t offset, std::span<std::byte> data) override;
  std::unique_ptr<Readback> read_later(const StoragePtr& from,
                                       uint64_t offset,
                                       uint64_t bytes) override;
  std::shared_ptr<const Captured> capture(const std::function<void()>& work) override;
  void replay(const Captured& work) override;
  void flush() override;
  void synchronize() override;

  void fill(const View& y, double value) override;
  void copy(const View& x, const View& y) override;
  void unary(UnaryKind kind, float a, float b, const View& x, const View& y) override;
  void binary(BinaryKind kind, const View& x1, const View& x2, const View& y) override;
  void compare(CompareKind kind, const View& x1, const View& x2, const View& y) override;
  void where(const View& condition,
             const View& on_true,
             const View& on_false,
             const View& y) override;
  void reduce(ReduceKind kind, const View& x, const View& y) override;
  void arg_reduce(ReduceKind kind, const View& x, const View& y) override;
  void cumsum(const View& x, const View& y) override;
  void top_k(const View& x, const View& values, const View& indices) override;
  void matmul(const View& a, const View& b, const View& y) override;
  void gather_rows(const View& table, const View& ids, const View& y) override;
  void write_rows(const View& x, const View& ids, const View& y) override;
  void gather(const View& x, int axis, const View& index, const View& y) override;
  void scatter_add(const View& x, int axis, const View& index, const View& y) override;
  void conv1d(const Conv1dArgs& args, const View& y) override;
  void conv2d(const Conv2dArgs& args, const View& y) override;
  void conv_transpose1d(const ConvTranspose1dArgs& args, const View& y) override;
  void random(RandomKind kind, uint64_t seed, float a, float b, const View& y) override;

  void softmax(const View& x, const View& y) override;
  void rms_norm(const View& x, const View& weight, float eps, const View& y) override;
  void layer_norm(
      const View& x, const View& weight, const View& bias, float eps, const View& y) override;
  void rope(const RopeArgs& args, const View& y) override;
  void swiglu(const View& gate, const View& up, const View& y) override;
  void linear(const LinearArgs& args, const View& y) override;
  void attention(const AttentionArgs& args, const View& y) override;
  void kv_write(const View& x, const View& slots, const View& cache) override;
  void rope_attention(const RopeAttentionArgs& args, const View& y) override;
  void moe_route(const MoeRouteArgs& args, const View& experts, const View& weights) override;
  void moe(const MoeArgs& args, const View& y) override;
  void moe_block(const MoeBlockArgs& args, const View& y) override;
  void sample(const SampleArgs& args, const View& ids) override;
  void penalise(const PenaliseArgs& args) override;
  void snake_beta(const View& x, const View& alpha, const View& beta, const View& y) override;

  const AdapterInfo& adapter() const { return context_->adapter(); }
  const Tuning& tuning() const { return tuning_; }
  /// Another one changes speed only. Work captured before keeps its own.
  void set_tuning(const Tuning& tuning) { tuning_ = tuning; }

  /// `linear` on matrix cores of an x that was made into terms, with its norm if it has one.
  void linear_terms(const LinearArgs& args, const MatrixTerms& x, const View& y);

  /// For kernels that are not part of candela, replays and tests.
  Context& context() { return *context_; }
  Stream& stream() { return *stream_; }

 private:
  /// A view over fresh device memory for intermediate results of one op.
  View scratch(const Shape& shape, DType dtype);
  /// `linear` without matrix cores; x and y are F32 rows. `norm_inside`: the norm is still to be
  /// done.
  void linear_rows(const LinearArgs& args, const View& x, const View& y, bool norm_inside);
  /// `linear` of F16 or BF16 weights with matrix cores; x and y are F32 rows.
  void linear_matrix(const LinearArgs& args, const View& x, const View& y);

  std::unique_ptr<Context> context_;
  std::unique_ptr<Stream> stream_;
  Tuning tuning_;
  std::unique_ptr<WeightLoader> loader_;
};

}  // namespace candela::wgpu
