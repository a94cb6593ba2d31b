#include "cli/bench_cpu.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>

#include "backend/cpu/simd.h"
#include "backend/cpu/storage.h"
#include "base/threads.h"
#include "engine/stats.h"
#include "tensor/ops.h"

namespace candela::cli {

namespace {

constexpr int64_t kWidth = 2048;

/// The shortest of several runs: others share the machine.
template <typename Body>
void keep_shortest(double& seconds, const Body& body) {
  const engine::Stopwatch watch;
  body();
  seconds = std::min(seconds, watch.seconds());
}

uint64_t read_all(ThreadPool& pool, std::span<const std::byte> memory) {
  std::atomic<uint64_t> all = 0;
  const auto words = static_cast<int64_t>(memory.size() / sizeof(uint64_t));
  const auto* data = reinterpret_cast<const uint64_t*>(memory.data());
  pool.parallel_for(words, 8192, [&](int64_t begin, int64_t end) {
    uint64_t bits[8] = {};
    for (int64_t i = begin; i + 8 <= end; i += 8) {
      for (int64_t j = 0; j < 8; ++j) {
        bits[j] ^= data[i + j];
      }
    }
    for (const uint64_t value : bits) {
      all ^= value;
    }
  });
  return all;
}

/// Operations a second that fused multiply-adds reach where nothing else is done.
double peak(ThreadPool& pool) {
  constexpr int64_t kRounds = 200'000;
  const int64_t threads = pool.threads();
  std::atomic<int64_t> operations = 0;
  double shortest = 1e9;
  for (int i = 0; i < 20; ++i) {
    operations = 0;
    keep_shortest(shortest, [&] {
      pool.parallel_for(threads, 1, [&](int64_t begin, int64_t end) {
        operations += (end - begin) * cpu::simd().multiply_add(kRounds);
      });
    });
  }
  return static_cast<double>(operations) / shortest;
}

}  // namespace

std::string describe_cpu_kernels(const Device& device, int threads) {
  ThreadPool pool(threads);
  // More than any last-level cache that is not a whole server's.
  constexpr int64_t kRows = 98304;
  Tensor matrix = Tensor::empty({kRows, kWidth}, DType::BF16, device, "bandwidth probe");
  matrix.copy_from(Tensor::full({1, 1}, 0.01, DType::BF16, device));
  const auto bytes = static_cast<double>(matrix.view().storage->bytes());
  const auto memory = cpu::storage_of(matrix.view()).from(0);
  const Tensor vector = Tensor::ones({1, kWidth}, DType::F32, device);
  double read = 1e9;
  double decode = 1e9;
  for (int i = 0; i < 8; ++i) {
    keep_shortest(read, [&] { read_all(pool, memory); });
    keep_shortest(decode, [&] { linear(vector, matrix); });
  }
  constexpr int64_t kTokens = 512;
  constexpr int64_t kOutputs = 2048;
  const Tensor tokens = Tensor::ones({kTokens, kWidth}, DType::F32, device);
  const Tensor part = matrix.narrow(0, 0, kOutputs);
  double prefill = 1e9;
  for (int i = 0; i < 8; ++i) {
    keep_shortest(prefill, [&] { linear(tokens, part); });
  }
  const double flops = 2.0 * static_cast<double>(kTokens * kOutputs * kWidth) / prefill;
  const double most = peak(pool);
  return fmt::format(
      "plain reads: {:.1f} GB/s; BF16 matrix x vector: {:.1f} GB/s ({:.0f} %)\n"
      "F32 multiply-adds: {:.0f} GFLOP/s; BF16 matrix x {} rows: {:.0f} GFLOP/s ({:.0f} %)\n",
      bytes / read / 1e9, bytes / decode / 1e9, 100.0 * read / decode, most / 1e9, kTokens,
      flops / 1e9, 100.0 * flops / most);
}

}  // namespace candela::cli
