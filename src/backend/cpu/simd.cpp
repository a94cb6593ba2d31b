// The portable inner loops, and which table is used.
#include "backend/cpu/simd.h"

#include <bit>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "backend/cpu/simd_exp.h"
#include "base/error.h"

namespace candela::cpu {

namespace {

/// Four lanes that the compiler maps to what the processor has.
struct Portable {
  using Floats = float __attribute__((vector_size(16)));
  using Ints = int32_t __attribute__((vector_size(16)));
  using Bytes = std::array<int8_t, 16>;
  static constexpr int kLanes = 4;
  static constexpr int kDotWeights = 2;
  static constexpr int kMixRows = 1;

  static Floats zero() { return Floats{}; }
  static Floats set(float value) { return Floats{value, value, value, value}; }
  static Floats load(const float* from) { return read<Floats>(from); }
  static void store(float* to, Floats v) { std::memcpy(to, &v, sizeof(v)); }
  static Floats add(Floats a, Floats b) { return a + b; }
  static Floats mul(Floats a, Floats b) { return a * b; }
  static Floats div(Floats a, Floats b) { return a / b; }
  static Floats fma(Floats a, Floats b, Floats c) { return a * b + c; }
  static void sums(const Floats* v, float* to) {
    for (int i = 0; i < 4; ++i) {
      to[i] = (v[i][0] + v[i][1]) + (v[i][2] + v[i][3]);
    }
  }

  static Floats max(Floats a, Floats b) { return a > b ? a : b; }
  static Floats min(Floats a, Floats b) { return a < b ? a : b; }
  static Floats round(Floats v) {
    // Adding 1.5 * 2^23 leaves no bits behind the point.
    const Floats magic = set(12582912.0f);
    return (v + magic) - magic;
  }
  static Floats power_of_two(Floats n) {
    return std::bit_cast<Floats>((__builtin_convertvector(n, Ints) + 127) << 23);
  }

  static Floats from_f16(const std::byte* from) {
    const auto h = read<std::array<Float16, 4>>(from);
    return Floats{to_float(h[0]), to_float(h[1]), to_float(h[2]), to_float(h[3])};
  }
  static Floats from_bf16(const std::byte* from) {
    const auto h = read<std::array<BFloat16, 4>>(from);
    return Floats{to_float(h[0]), to_float(h[1]), to_float(h[2]), to_float(h[3])};
  }

  static float f16(const std::byte* from) { return to_float(read<Float16>(from)); }
  static Bytes bytes(const std::byte* from) { return read<Bytes>(from); }
  static Bytes low(Bytes both) {
    for (int8_t& value : both) {
      value = static_cast<int8_t>(value & 15);
    }
    return both;
  }
  static Bytes high(Bytes both) {
    for (int8_t& value : both) {
      value = static_cast<int8_t>((value >> 4) & 15);
    }
    return both;
  }
  static Floats floats(const Bytes& from, int at) {
    const int8_t* b = from.data() + ptrdiff_t{at} * kLanes;
    return Floats{static_cast<float>(b[0]), static_cast<float>(b[1]), static_cast<float>(b[2]),
                  static_cast<float>(b[3])};
  }

 private:
  template <typename T>
  static T read(const void* from) {
    T value;
    std::memcpy(&value, from, sizeof(value));
    return value;
  }
};

const Simd& chosen() {
  const char* name = std::getenv("CANDELA_SIMD");
  if (name == nullptr || *name == '\0') {
    return *simd_variants().back();
  }
  std::string known;
  for (const Simd* variant : simd_variants()) {
    if (std::strcmp(variant->name, name) == 0) {
      return *variant;
    }
    known += known.empty() ? variant->name : std::string(", ") + variant->name;
  }
  fail(ErrorKind::InvalidArgument, Subject::Usage,
       "CANDELA_SIMD is '{}', but this processor runs {}; set one of these or none.", name, known);
}

}  // namespace

const Simd& simd_portable() {
  static constexpr Simd kTable = table_of<Portable>("portable");
  return kTable;
}

std::span<const Simd* const> simd_variants() {
  static const std::vector<const Simd*> kAll = [] {
    std::vector<const Simd*> all = {&simd_portable()};
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
        __builtin_cpu_supports("f16c")) {
      all.push_back(&simd_avx2());
      if (__builtin_cpu_supports("avx512f")) {
        all.push_back(&simd_avx512());
        if (__builtin_cpu_supports("avx512bf16")) {
          all.push_back(&simd_avx512_bf16());
        }
      }
    }
#endif
    return all;
  }();
  return kAll;
}

const Simd& simd() {
  static const Simd& best = chosen();
  return best;
}

}  // namespace candela::cpu
