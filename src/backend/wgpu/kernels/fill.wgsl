// fill: y = the element whose bits are params.kinds.x. Any strides.
//:include walk

fn element_bits(index: u32) -> u32 {
  return params.kinds.x;
}
