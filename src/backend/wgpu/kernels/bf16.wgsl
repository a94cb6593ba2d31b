// bf16: BF16 and F16 as bits in the low half of a u32, converted with integers: WGSL promises
// neither the rounding of f16() and pack2x16float nor denormals.

fn bf16_to_f32(bits: u32) -> f32 {
  return bitcast<f32>(bits << 16u);
}

/// To nearest even; every NaN becomes 0xffff, as on the CPU.
fn f32_to_bf16(value: f32) -> u32 {
  let bits = bitcast<u32>(value);
  let nan = (bits & 0x7fffffffu) > 0x7f800000u;
  return select((bits + 0x7fffu + ((bits >> 16u) & 1u)) >> 16u, 0xffffu, nan);
}

fn f16_to_f32(half: u32) -> f32 {
  let sign = (half & 0x8000u) << 16u;
  let exponent = (half >> 10u) & 31u;
  let mantissa = half & 0x3ffu;
  let small = bitcast<u32>(f32(mantissa) * 5.9604644775390625e-8) | sign;
  let normal = sign | ((exponent + 112u) << 23u) | (mantissa << 13u);
  let special = sign | 0x7f800000u | (mantissa << 13u);
  return bitcast<f32>(select(select(normal, small, exponent == 0u), special, exponent == 31u));
}

/// To nearest even; above 65504 and half a step infinity, NaN stays NaN.
fn f32_to_f16(value: f32) -> u32 {
  let bits = bitcast<u32>(value);
  let sign = (bits >> 16u) & 0x8000u;
  let magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) {
    return sign | 0x7e00u;
  }
  if (magnitude >= 0x477ff000u) {
    return sign | 0x7c00u;
  }
  if (magnitude < 0x38800000u) {
    // Below 2^-14: multiples of 2^-24, rounded with integers because f32 denormals may be flushed.
    let exponent = magnitude >> 23u;
    let shift = 126u - max(exponent, 101u);
    let mantissa = (magnitude & 0x7fffffu) | 0x800000u;
    let kept = mantissa >> shift;
    let rest = mantissa & ((1u << shift) - 1u);
    let middle = 1u << (shift - 1u);
    let up = rest > middle || (rest == middle && (kept & 1u) == 1u);
    return sign | select(0u, kept + select(0u, 1u, up), exponent >= 101u);
  }
  return sign | ((magnitude + 0xfffu + ((magnitude >> 13u) & 1u) - 0x38000000u) >> 13u);
}
