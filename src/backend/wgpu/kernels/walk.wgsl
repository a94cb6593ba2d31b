// walk: params of kernels that compute one element after the other, and the main function that
// stores them. The including kernel declares its inputs at bindings 0, 1, ... and brings
//   fn element_bits(index: u32) -> u32    bits of element `index` (row-major) of y
// y is binding {{Y}}. One item a thread, workgroup 256, grid_for(items / 256).
// Y_WORD: elements of 32 bits. Y_PAIR: two elements of 16 bits that share a word are one item.
// Y_ATOMIC: elements of 16 bits anywhere; words are shared between threads.
//:include common
//:include reals_any

struct Params {
  sizes: Six,           // innermost first, as all strides
  x0: Six,
  x1: Six,
  x2: Six,
  y: Six,
  offsets: vec4<u32>,   // of x0, x1, x2, y, in elements
  kinds: vec4<u32>,     // dtypes of x0, x1, x2, y: see reals_any
  count: u32,           // items
  rank: u32,
  a: f32,
  b: f32,
}

@group(0) @binding({{PARAMS}}) var<uniform> params: Params;
//:if Y_ATOMIC
@group(0) @binding({{Y}}) var<storage, read_write> y: array<atomic<u32>>;
//:else
@group(0) @binding({{Y}}) var<storage, read_write> y: array<u32>;
//:end

fn offset_x0(index: u32) -> u32 {
  return params.offsets.x + strided(index, params.sizes, params.x0, params.rank);
}

fn offset_x1(index: u32) -> u32 {
  return params.offsets.y + strided(index, params.sizes, params.x1, params.rank);
}

fn offset_x2(index: u32) -> u32 {
  return params.offsets.z + strided(index, params.sizes, params.x2, params.rank);
}

fn offset_y(index: u32) -> u32 {
  return params.offsets.w + strided(index, params.sizes, params.y, params.rank);
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>,
        @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let item = workgroup_index(group, groups) * 256u + thread;
  if (item >= params.count) {
    return;
  }
//:if Y_WORD
  y[offset_y(item)] = element_bits(item);
//:end
//:if Y_PAIR
  let index = item * 2u;
  y[offset_y(index) >> 1u] = element_bits(index) | (element_bits(index + 1u) << 16u);
//:end
//:if Y_ATOMIC
  let at = offset_y(item);
  let shift = (at & 1u) << 4u;
  let bits = element_bits(item) << shift;
  // Two steps that touch this element's bits alone: no loop, no order between threads.
  atomicAnd(&y[at >> 1u], ~(0xffffu << shift));
  atomicOr(&y[at >> 1u], bits);
//:end
}
