#include "backend/cpu/cpu_backend.h"
#include "backend/cpu/loops.h"
#include "backend/cpu/storage.h"
#include "backend/philox.h"

namespace candela::cpu {

void CpuBackend::random(RandomKind kind, uint64_t seed, float a, float b, const View& y) {
  count();
  std::byte* to = output(y, "random");
  const auto layouts = merged_layouts(y);
  const int64_t stride = layouts[0].stride(-1);
  pool_.parallel_for(y.elements(), kGrain / 4, [&](int64_t begin, int64_t end) {
    float values[kChunk];
    int64_t index = begin;
    std::array<float, 4> four{};
    int64_t block = -1;
    walk_runs(layouts, begin, end, [&](const auto& at, int64_t run) {
      for (int64_t i = 0; i < run; i += kChunk) {
        const int64_t n = std::min(kChunk, run - i);
        for (int64_t j = 0; j < n; ++j, ++index) {
          if (index / 4 != block) {
            block = index / 4;
            const auto counter = static_cast<uint64_t>(block);
            four = kind == RandomKind::uniform ? philox::uniform(seed, counter)
                                               : philox::normal(seed, counter);
          }
          const float value = four[static_cast<size_t>(index % 4)];
          values[j] = kind == RandomKind::uniform ? a + (b - a) * value : a + b * value;
        }
        store_floats("random", values, y.dtype, to, at[0] + i * stride, stride, n);
      }
    });
  });
}

}  // namespace candela::cpu
