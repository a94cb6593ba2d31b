// reals_any: elements of any dtype, chosen at run time: a branch costs less than the compilation of
// one pipeline for each mix. Kinds: 0 F32, 1 BF16, 2 F16, 3 I32, 4 U32 (kind_of in elements.h).
//:include bf16

fn is_half(kind: u32) -> bool {
  return kind == 1u || kind == 2u;
}

/// Which word of a buffer holds element `at`.
fn word_index(kind: u32, at: u32) -> u32 {
  return select(at, at >> 1u, is_half(kind));
}

/// The element's own bits, out of its word.
fn bits_in_word(kind: u32, word: u32, at: u32) -> u32 {
  return select(word, (word >> ((at & 1u) << 4u)) & 0xffffu, is_half(kind));
}

fn real_from_bits(kind: u32, bits: u32) -> f32 {
  switch kind {
    case 1u: { return bf16_to_f32(bits); }
    case 2u: { return f16_to_f32(bits); }
    case 3u: { return f32(bitcast<i32>(bits)); }
    case 4u: { return f32(bits); }
    default: { return bitcast<f32>(bits); }
  }
}

/// For the 16-bit kinds.
fn half_from_real(kind: u32, value: f32) -> u32 {
  if (kind == 1u) {
    return f32_to_bf16(value);
  }
  return f32_to_f16(value);
}

/// For the 32-bit kinds. Integers truncate and saturate.
fn word_from_real(kind: u32, value: f32) -> u32 {
  switch kind {
    case 3u: {
      let inside = bitcast<u32>(i32(clamp(value, -2147483648.0, 2147483520.0)));
      return select(inside, 0x7fffffffu, value >= 2147483648.0);
    }
    case 4u: {
      return select(u32(clamp(value, 0.0, 4294967040.0)), 0xffffffffu, value >= 4294967296.0);
    }
    default: { return bitcast<u32>(value); }
  }
}

fn bits_from_real(kind: u32, value: f32) -> u32 {
  if (is_half(kind)) {
    return half_from_real(kind, value);
  }
  return word_from_real(kind, value);
}
