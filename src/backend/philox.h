#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>

/// The random numbers of candela, the same on every device.
///
/// Element i of a tensor (row-major) comes from lane i % 4 of Philox4x32-10 with the counter
/// (i / 4 low word, i / 4 high word, 0, 0) and the key (seed low word, seed high word).
/// Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (2011).
///
/// The functions below use only + - * / sqrt and bit operations, because WGSL leaves the precision
/// of log, sin and cos too loose. backend/wgpu/kernels mirrors them line by line; what is left is
/// the rounding of single operations, about 1e-6.
namespace candela::philox {

constexpr std::array<uint32_t, 4> block(uint64_t seed, uint64_t index) {
  std::array<uint32_t, 4> c = {static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32), 0,
                               0};
  uint32_t k0 = static_cast<uint32_t>(seed);
  uint32_t k1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53u} * c[0];
    const uint64_t p1 = uint64_t{0xCD9E8D57u} * c[2];
    c = {static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ k0, static_cast<uint32_t>(p1),
         static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ k1, static_cast<uint32_t>(p0)};
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return c;
}

/// In [0, 1), a multiple of 2^-24.
constexpr float unit(uint32_t bits) {
  return static_cast<float>(bits >> 8) * 0x1p-24f;
}

/// Natural logarithm of a normal x in (0, 1]: x = m 2^e with m in [sqrt(1/2), sqrt(2)), and
/// log(m) = 2 atanh((m - 1) / (m + 1)) as a series, whose first dropped term is below 2e-9.
inline float log_unit(float x) {
  uint32_t bits = std::bit_cast<uint32_t>(x);
  // 0x3f3504f3 are the bits of sqrt(1/2): mantissas above it belong to the next exponent.
  const int32_t exponent = static_cast<int32_t>(bits - 0x3f3504f3u) >> 23;
  bits -= static_cast<uint32_t>(exponent) << 23;
  const float m = std::bit_cast<float>(bits);
  const float s = (m - 1.0f) / (m + 1.0f);
  const float z = s * s;
  const float series = 1.0f + z * (0.33333333f + z * (0.2f + z * (0.14285714f + z * 0.11111111f)));
  return static_cast<float>(exponent) * 0.69314718f + 2.0f * s * series;
}

struct SinCos {
  float sin, cos;
};

/// Sine and cosine of 2 pi u for u in [0, 1), a multiple of 2^-24, so that the reduction to
/// [-1/8, 1/8] is exact; Taylor series from there, errors below 3e-9.
inline SinCos sincos_turn(float u) {
  const float k = std::floor(u * 4.0f + 0.5f);
  const float t = (u - k * 0.25f) * 6.2831853f;
  const float z = t * t;
  const float s =
      t * (1.0f +
           z * (-0.16666667f + z * (0.0083333333f + z * (-0.00019841270f + z * 0.0000027557319f))));
  const float c =
      1.0f + z * (-0.5f + z * (0.041666667f + z * (-0.0013888889f + z * (0.000024801587f +
                                                                         z * -0.00000027557319f))));
  switch (static_cast<uint32_t>(k) & 3u) {
    case 0:
      return {s, c};
    case 1:
      return {c, -s};
    case 2:
      return {-s, -c};
    default:
      return {-c, s};
  }
}

/// Four numbers in [0, 1).
inline std::array<float, 4> uniform(uint64_t seed, uint64_t index) {
  const auto bits = block(seed, index);
  return {unit(bits[0]), unit(bits[1]), unit(bits[2]), unit(bits[3])};
}

/// Four normal numbers with mean 0 and deviation 1: Box-Muller on lanes (0, 1) and (2, 3), the
/// cosine first. 1 - u lies in (0, 1], so the logarithm is finite.
inline std::array<float, 4> normal(uint64_t seed, uint64_t index) {
  const auto u = uniform(seed, index);
  std::array<float, 4> out{};
  for (size_t pair = 0; pair < 4; pair += 2) {
    const float radius = std::sqrt(-2.0f * log_unit(1.0f - u[pair]));
    const SinCos turn = sincos_turn(u[pair + 1]);
    out[pair] = radius * turn.cos;
    out[pair + 1] = radius * turn.sin;
  }
  return out;
}

}  // namespace candela::philox
