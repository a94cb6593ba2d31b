#pragma once

#include <memory>
#include <string>

#include "backend/backend.h"
#include "backend/cpu/products.h"
#include "base/threads.h"

namespace candela::cpu {

/// Loops and threads. Ops run at once; weights of any type are read in place and widened in
/// registers, so no F32 copy of a weight ever exists. Implemented by family: copy.cpp,
/// elementwise.cpp, reduce.cpp, topk.cpp, matmul.cpp, index.cpp, conv.cpp, random.cpp, norm.cpp,
/// attention.cpp, moe.cpp.
class CpuBackend final : public Backend {
 public:
  CpuBackend(int threads, Precision precision, const std::string& onednn);

  DeviceKind kind() const override { return DeviceKind::Cpu; }
  std::string name() const override;
  const Limits& limits() const override { return limits_; }
  Counters& counters() override { return *counters_; }

  StoragePtr allocate(uint64_t bytes, uint64_t split_unit, const std::string& label) override;
  Imported import_host(std::span<const HostPiece> pieces,
                       std::shared_ptr<const HostMemory> owner,
                       uint64_t split_unit,
                       uint64_t unit,
                       const std::string& label) override;
  WeightPlace weight_place() override { return WeightPlace::FilePages; }
  void upload(const StoragePtr& to, uint64_t offset, HostPiece data) override;
  void download(const StoragePtr& from, uint64_t offset, std::span<std::byte> data) override;
  void flush() override {}
  void synchronize() override {}

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
  void log_softmax(const View& x, const View& y) override;
  void rms_norm(const View& x, const View& weight, float eps, const View& y) override;
  void layer_norm(
      const View& x, const View& weight, const View& bias, float eps, const View& y) override;
  void rope(const RopeArgs& args, const View& y) override;
  void swiglu(const View& gate, const View& up, const View& y) override;
  void linear(const LinearArgs& args, const View& y) override;
  void attention(const AttentionArgs& args, const View& y) override;
  void kv_write(const View& x, const View& slots, const View& cache) override;
  void moe_route(const MoeRouteArgs& args, const View& experts, const View& weights) override;
  void moe(const MoeArgs& args, const View& y) override;
  void snake_beta(const View& x, const View& alpha, const View& beta, const View& y) override;

 private:
  /// One op began.
  void count() { ++counters_->dispatches; }

  Products products_;
  Limits limits_;
  std::shared_ptr<Counters> counters_;
  ThreadPool pool_;
};

}  // namespace candela::cpu

namespace candela {

/// What Device::cpu takes.
std::shared_ptr<Backend> make_cpu_backend(int threads,
                                          Precision precision = Precision::Exact,
                                          const std::string& onednn = "auto");

}  // namespace candela
