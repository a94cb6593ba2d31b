// write_rows: y[ids[i], ...] = x[i, ...], converted, one thread an element of x. Ids are distinct;
// those outside of y are skipped. x, y: F32, F16, BF16 (y of 16 bits: HALF), or words copied alike
// (raw). HALF writes its half of a word by two atomic steps that leave the other half alone, so that
// rows may share words.
//:include common
//:include reals_any

struct Params {
  sizes: Six,
  x_strides: Six,
  id_strides: Six,
  y_strides: Six,
  rank: u32,
  count: u32,
  x_offset: u32,
  id_offset: u32,
  y_offset: u32,
  x_kind: u32,
  y_kind: u32,
  raw: u32,
  y_rows: u32,
  y_row_stride: u32,
}

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read> ids: array<u32>;
//:if HALF
@group(0) @binding(2) var<storage, read_write> y: array<atomic<u32>>;
//:else
@group(0) @binding(2) var<storage, read_write> y: array<u32>;
//:end
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>,
        @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let item = workgroup_index(group, groups) * 256u + thread;
  if (item >= params.count) {
    return;
  }
  let id = ids[params.id_offset + strided(item, params.sizes, params.id_strides, params.rank)];
  if (id >= params.y_rows) {
    return;
  }
  let base = params.x_offset + strided(item, params.sizes, params.x_strides, params.rank);
  let to = params.y_offset + id * params.y_row_stride +
           strided(item, params.sizes, params.y_strides, params.rank);
  var bits = bits_in_word(params.x_kind, x[word_index(params.x_kind, base)], base);
  if (params.raw == 0u) {
//:if HALF
    bits = half_from_real(params.y_kind, real_from_bits(params.x_kind, bits));
//:else
    bits = word_from_real(params.y_kind, real_from_bits(params.x_kind, bits));
//:end
  }
//:if HALF
  let shift = (to & 1u) << 4u;
  atomicAnd(&y[to >> 1u], ~(0xffffu << shift));
  atomicOr(&y[to >> 1u], bits << shift);
//:else
  y[to] = bits;
//:end
}
