// matmul: y[b, m, n] = sum_k a[b, m, k] c[b, k, n] for any strides and up to four batch dimensions.
// a, c: F32, BF16 or F16 in array<u32> (kinds in the params); y: f32. The general product: model
// weights go through linear_gemv and linear_tile.
// A workgroup of 256 makes a 16 x 16 tile, one result a thread. Shared: 2 KiB. Sums in F32.
// Grid: linear over tiles and batches.
//:include common
//:include reals

struct Params {
  m: u32,
  n: u32,
  k: u32,
  batches: u32,
  sizes_1: u32,      // of the batch dimensions but the outermost
  sizes_2: u32,
  sizes_3: u32,
  a_offset: u32,
  a_kind: u32,
  a_0: u32,          // batch strides, then those of m and k
  a_1: u32,
  a_2: u32,
  a_3: u32,
  a_m: u32,
  a_k: u32,
  b_offset: u32,
  b_kind: u32,
  b_0: u32,
  b_1: u32,
  b_2: u32,
  b_3: u32,
  b_k: u32,
  b_n: u32,
  y_offset: u32,
  y_0: u32,
  y_1: u32,
  y_2: u32,
  y_3: u32,
  y_m: u32,
  y_n: u32,
}

@group(0) @binding(0) var<storage, read> a: array<u32>;
@group(0) @binding(1) var<storage, read> b: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

var<workgroup> tile_a: array<f32, 272>;  // rows padded from 16 to 17 against bank conflicts
var<workgroup> tile_b: array<f32, 272>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>,
        @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let tiles_m = (params.m + 15u) / 16u;
  let tiles_n = (params.n + 15u) / 16u;
  let number = workgroup_index(group, groups);
  let index = min(number, tiles_m * tiles_n * params.batches - 1u);
  let n0 = index % tiles_n * 16u;
  let m0 = index / tiles_n % tiles_m * 16u;
  let batch = index / tiles_n / tiles_m;
  let i3 = batch % params.sizes_3;
  let i2 = batch / params.sizes_3 % params.sizes_2;
  let i1 = batch / params.sizes_3 / params.sizes_2 % params.sizes_1;
  let i0 = batch / params.sizes_3 / params.sizes_2 / params.sizes_1;
  let a_start = params.a_offset + i0 * params.a_0 + i1 * params.a_1 + i2 * params.a_2 +
                i3 * params.a_3;
  let b_start = params.b_offset + i0 * params.b_0 + i1 * params.b_1 + i2 * params.b_2 +
                i3 * params.b_3;
  let y_start = params.y_offset + i0 * params.y_0 + i1 * params.y_1 + i2 * params.y_2 +
                i3 * params.y_3;
  let col = thread % 16u;
  let row = thread / 16u;
  var sum = 0.0;
  for (var k0 = 0u; k0 < params.k; k0 += 16u) {
    // Clamped reads and zeros where k ends; rows and columns past the end are not stored.
    let ia = a_start + min(m0 + row, params.m - 1u) * params.a_m +
             min(k0 + col, params.k - 1u) * params.a_k;
    let ib = b_start + min(k0 + row, params.k - 1u) * params.b_k +
             min(n0 + col, params.n - 1u) * params.b_n;
    tile_a[row * 17u + col] = select(
      0.0, real_of(params.a_kind, a[word_of(params.a_kind, ia)], ia), k0 + col < params.k);
    tile_b[row * 17u + col] = select(
      0.0, real_of(params.b_kind, b[word_of(params.b_kind, ib)], ib), k0 + row < params.k);
    workgroupBarrier();
    for (var k = 0u; k < 16u; k++) {
      sum += tile_a[row * 17u + k] * tile_b[k * 17u + col];
    }
    workgroupBarrier();
  }
  if (m0 + row < params.m && n0 + col < params.n &&
      number < tiles_m * tiles_n * params.batches) {
    y[y_start + (m0 + row) * params.y_m + (n0 + col) * params.y_n] = sum;
  }
}
