// where: y = condition != 0 ? on_true : on_false; condition U32, the others of one dtype, whose bits
// are kept. Any strides.
@group(0) @binding(0) var<storage, read> condition: array<u32>;
@group(0) @binding(1) var<storage, read> on_true: array<u32>;
@group(0) @binding(2) var<storage, read> on_false: array<u32>;
//:include walk

fn element_bits(place: vec4<u32>) -> u32 {
  let kind = params.kinds.w;
  if (condition[place.x] != 0u) {
    let at = place.y;
    return bits_in_word(kind, on_true[word_index(kind, at)], at);
  }
  let at = place.z;
  return bits_in_word(kind, on_false[word_index(kind, at)], at);
}
