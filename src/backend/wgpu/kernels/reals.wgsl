// reals: single elements of F32, F16 and BF16 vectors that lie in array<u32>; the caller's params
// carry the dtype number, so that norm weights and biases cost no pipeline variants.
// kind: 0 F32, 1 BF16, 2 F16 (real_kind in rows.h). word_of gives the word of an element.

fn word_of(kind: u32, i: u32) -> u32 {
  return select(i >> 1u, i, kind == 0u);
}

fn real_of(kind: u32, word: u32, i: u32) -> f32 {
  let shift = (i & 1u) << 4u;
  let bf16 = bitcast<f32>((word >> shift) << 16u);
  let f16 = unpack2x16float(word >> shift).x;
  return select(select(bf16, f16, kind == 2u), bitcast<f32>(word), kind == 0u);
}
