// copy: y = x, converted. Any strides and any mix of F32, BF16, F16, I32, U32; also from blocks
// (kinds 5 Q8_0, 6 Q4_0, 7 Q4_1, 8 Q8_16; x contiguous). kinds.z = 1: x's bits are y's bits.
// Block layouts: ggml-common.h, block_q8_0 (34 bytes), block_q4_0 (18), block_q4_1 (20); Q8_16 (36).
@group(0) @binding(0) var<storage, read> x: array<u32>;
//:include walk

fn byte_at(i: u32) -> u32 {
  return (x[i >> 2u] >> ((i & 3u) << 3u)) & 255u;
}

/// Blocks start at even bytes, so that an F16 never straddles words.
fn f16_at(i: u32) -> f32 {
  return f16_to_f32((x[i >> 2u] >> ((i & 2u) << 3u)) & 0xffffu);
}

fn nibble(base: u32, j: u32) -> f32 {
  return f32((byte_at(base + (j & 15u)) >> ((j >> 4u) << 2u)) & 15u);
}

fn signed_byte(i: u32) -> f32 {
  return f32(bitcast<i32>(byte_at(i) << 24u) >> 24u);
}

fn block_element(kind: u32, at: u32) -> f32 {
  let block = at >> 5u;
  let j = at & 31u;
  if (kind == 5u) {
    return signed_byte(block * 34u + 2u + j) * f16_at(block * 34u);
  }
  if (kind == 6u) {
    return (nibble(block * 18u + 2u, j) - 8.0) * f16_at(block * 18u);
  }
  if (kind == 8u) {
    return signed_byte(block * 36u + 4u + j) * f16_at(block * 36u + 2u * (j >> 4u));
  }
  return nibble(block * 20u + 4u, j) * f16_at(block * 20u) + f16_at(block * 20u + 2u);
}

fn converted(value: f32) -> u32 {
//:if Y_WORD
  return word_from_real(params.kinds.w, value);
//:else
  return half_from_real(params.kinds.w, value);
//:end
}

fn element_bits(place: vec4<u32>) -> u32 {
  let kind = params.kinds.x;
  let at = place.x;
  if (kind >= 5u) {
    return converted(block_element(kind, at));
  }
  let bits = bits_in_word(kind, x[word_index(kind, at)], at);
  if (params.kinds.z == 1u) {
    return bits;
  }
  return converted(real_from_bits(kind, bits));
}
