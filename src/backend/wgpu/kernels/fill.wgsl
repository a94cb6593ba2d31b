// fill: y = the element whose bits are params.kinds.x. Any strides.
//:include walk

fn element_bits(at: vec4<u32>) -> u32 {
  return params.kinds.x;
}
