// ordered: floats as u32 keys of the same order, so that maxima are exact and NaN and infinities need
// no float arithmetic, about which WGSL promises nothing. Kinds of elements: see reals_any.
//:include reals_any

const kNanKey = 0xffffffffu;

// The F32 bits of the element at `at`, which lies in `word`.
fn f32_bits(kind: u32, word: u32, at: u32) -> u32 {
  if (kind == 0u) {
    return word;
  }
  return bitcast<u32>(real_from_bits(kind, bits_in_word(kind, word, at)));
}

// Both zeros are one key. -inf is 0x007fffff, +inf 0xff800000; NaN is kNanKey.
fn key_of(bits: u32) -> u32 {
  let magnitude = bits & 0x7fffffffu;
  let positive = select(bits, 0u, magnitude == 0u);
  let key = select(positive | 0x80000000u, ~positive, (positive >> 31u) == 1u);
  return select(key, kNanKey, magnitude > 0x7f800000u);
}

// The F32 bits of a key.
fn bits_of_key(key: u32) -> u32 {
  return select(~key, key & 0x7fffffffu, (key >> 31u) == 1u);
}

// The order turned round, from smallest to largest; NaN stays.
fn reversed_key(key: u32) -> u32 {
  return select(~key, kNanKey, key == kNanKey);
}
