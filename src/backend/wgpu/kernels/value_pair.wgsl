// value_pair: two neighbouring elements of a cached value row, `row` (of Q8_0 in blocks) and `d` in
// elements, d even; the second is 0 past the end of the row. Needs `values`: array<u32> and weight.wgsl,
// for Q8_0 as matrix 1. W_F32, W_BF16 or W_Q8_0 names the cache's dtype; V_EVEN: every row starts at an
// even element and dim is even.

fn value_pair(row: u32, d: u32, dim: u32) -> vec2<f32> {
//:if RECENT
  if ((row & kRecent) != 0u) {
    let word = values[(row & ~kRecent) + (d >> 1u)];
    return vec2<f32>(low_bf16(word), high_bf16(word));
  }
//:end
//:if W_Q8_0
  let block = (row + (d >> 5u)) * 34u;
  let at = block + 2u + (d & 31u);
  let pair = unpack4xI8(values[at >> 2u] >> ((at & 2u) << 3u)).xy;
  return f16_at(1u, block) * vec2<f32>(pair);
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
