// where: y = condition != 0 ? on_true : on_false; condition U32, the others of one dtype, whose bits
// are kept. Any strides.
@group(0) @binding(0) var<storage, read> condition: array<u32>;
@group(0) @binding(1) var<storage, read> on_true: array<u32>;
@group(0) @binding(2) var<storage, read> on_false: array<u32>;
//:include walk

fn element_bits(index: u32) -> u32 {
  let kind = params.kinds.w;
  if (condition[offset_x0(index)] != 0u) {
    let at = offset_x1(index);
    return bits_in_word(kind, on_true[word_index(kind, at)], at);
  }
  let at = offset_x2(index);
  return bits_in_word(kind, on_false[word_index(kind, at)], at);
}
