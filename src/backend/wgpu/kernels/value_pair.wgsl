// value_pair: two neighbouring elements of a cached value row, `row` (of Q8_16 in blocks) and `d` in
// elements, d even; the second is 0 past the end of the row. Needs `values`: array<u32> and weight.wgsl.
// W_F32, W_BF16 or W_Q8_16 names the cache's dtype; V_EVEN: every row starts at an
// even element and dim is even.

fn value_pair(row: u32, d: u32, dim: u32) -> vec2<f32> {
//:if RECENT
  if ((row & kRecent) != 0u) {
    return unpack2x16float(values[(row & ~kRecent) + (d >> 1u)]);
  }
//:end
//:if W_Q8_16
  let block = (row + (d >> 5u)) * 9u;
  let pair = unpack4xI8(values[block + 1u + ((d & 31u) >> 2u)] >> ((d & 2u) << 3u)).xy;
  return unpack2x16float(values[block] >> (d & 16u)).x * vec2<f32>(pair);
//:else
  let i = row + d;
//:if W_F32
  let second = min(d + 1u, dim - 1u) + row;
  return vec2<f32>(bitcast<f32>(values[i]),
                   select(0.0, bitcast<f32>(values[second]), d + 1u < dim));
//:else
//:if V_EVEN
  let word = values[i >> 1u];
  return vec2<f32>(low_bf16(word), high_bf16(word));
//:else
  let second = min(d + 1u, dim - 1u) + row;
  return vec2<f32>(half_of(values[i >> 1u], i & 1u),
                   select(0.0, half_of(values[second >> 1u], second & 1u), d + 1u < dim));
//:end
//:end
//:end
}
