// gather: y[.., i, ..] = x[.., index[.., i, ..], ..] along an axis, bits unchanged; 0 where the index
// lies outside of x. x0 is the index (u32) and x1 is x with the axis held at 0, both of y's shape.
// kinds.z: size of the axis in x; offsets.z: its stride.
@group(0) @binding(0) var<storage, read> index: array<u32>;
@group(0) @binding(1) var<storage, read> x: array<u32>;
//:include walk

fn element_bits(at: vec4<u32>) -> u32 {
  let place = index[at.x];
  if (place >= params.kinds.z) {
    return 0u;
  }
  let i = at.y + place * params.offsets.z;
  let kind = params.kinds.y;
  return bits_in_word(kind, x[word_index(kind, i)], i);
}
