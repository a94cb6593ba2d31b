// walk: params of kernels that compute one element after the other, and the main function that
// stores them. The including kernel declares its inputs at bindings 0, 1, ... and brings
//   fn element_bits(at: vec4<u32>) -> u32    bits of one element of y
// where `at` holds where that element lies in x0, x1, x2 and y, counted in elements. y is binding
// {{Y}}. One item a thread, workgroup 256, grid_for(items / 256).
// Y_WORD: elements of 32 bits. Y_PAIR: two elements of 16 bits that share a word are one item.
// Y_ATOMIC: elements of 16 bits anywhere; words are shared between threads.
//:include common
//:include reals_any

struct Params {
  sizes: array<vec4<u32>, 2>,    // innermost first
  strides: array<vec4<u32>, 6>,  // of x0, x1, x2, y, for each dimension
  offsets: vec4<u32>,
  kinds: vec4<u32>,              // dtypes of x0, x1, x2, y: see reals_any
  count: u32,                    // items
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

/// One walk for all operands: the divisions are the expensive part.
fn place_of(index: u32) -> vec4<u32> {
  var rest = index;
  var at = params.offsets;
  let outermost = min(params.rank, 6u) - 1u;
  for (var d = 0u; d < outermost; d++) {
    let next = rest / params.sizes[d >> 2u][d & 3u];
    at += (rest - next * params.sizes[d >> 2u][d & 3u]) * params.strides[d];
    rest = next;
  }
  return at + rest * params.strides[outermost];
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
  let at = place_of(item);
  y[at.w] = element_bits(at);
//:end
//:if Y_PAIR
  let first = place_of(item * 2u);
  var word = 0u;
  for (var j = 0u; j < 2u; j++) {
    word |= element_bits(first + j * params.strides[0]) << (j << 4u);
  }
  y[first.w >> 1u] = word;
//:end
//:if Y_ATOMIC
  let at = place_of(item);
  let shift = (at.w & 1u) << 4u;
  let bits = element_bits(at) << shift;
  // Two steps that touch this element's bits alone: no loop, no order between threads.
  atomicAnd(&y[at.w >> 1u], ~(0xffffu << shift));
  atomicOr(&y[at.w >> 1u], bits);
//:end
}
