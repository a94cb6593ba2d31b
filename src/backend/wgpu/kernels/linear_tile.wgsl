// linear_tile: y[t, o] = sum_k x[t, k] w[o, k] + bias[o] + residual[t, o] for many rows t.
// Operands as in linear_gemv. A workgroup of 256 makes 64 x 64 results, 4 x 4 a thread; 16 columns at
// a time lie in workgroup memory as vec4 along k, weights widened while they are staged. Rows of 4
// vec4 are padded to 5, so that 16-byte reads of neighbouring rows meet no bank twice.
// Shared: 10 KiB. Sums in F32. Grid: linear, tiles of x rows fastest so that weights stay in cache.
//:include common
//:include weight
//:include linear_io

const kTile = 64u;
const kPitch = 5u;

var<workgroup> tile_x: array<vec4<f32>, 320>;
var<workgroup> tile_w: array<vec4<f32>, 320>;

// Threads 0..127 fetch x, 128..255 fetch weights: eight columns of one row each.
fn stage(thread: u32, t0: u32, o0: u32, k0: u32) {
  let row = (thread & 127u) >> 1u;
  let k = k0 + (thread & 1u) * 8u;
  let at = row * kPitch + (thread & 1u) * 2u;
  var piece = Eight(vec4<f32>(0.0), vec4<f32>(0.0));
  if (thread < 128u) {
    if (k < params.cols) {
      piece = x8(min(t0 + row, params.rows - 1u), k);
    }
    tile_x[at] = piece.lo;
    tile_x[at + 1u] = piece.hi;
  } else {
    if (k < params.cols) {
      let o = min(o0 + row, params.row_count - 1u);
      piece = weight8(0u, params.w_start + o * params.w_stride, k, params.cols);
    }
    tile_w[at] = piece.lo;
    tile_w[at + 1u] = piece.hi;
  }
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>,
        @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let t_tiles = (params.rows + kTile - 1u) / kTile;
  let index = workgroup_index(group, groups);
  let t0 = (index % t_tiles) * kTile;
  let o0 = (index / t_tiles) * kTile;
  let tx = thread & 15u;
  let ty = thread >> 4u;
  // Row i of a thread: t = t0 + ty + 16 i; column j: o = o0 + tx + 16 j. sums[i][j].
  var s0 = vec4<f32>(0.0);
  var s1 = vec4<f32>(0.0);
  var s2 = vec4<f32>(0.0);
  var s3 = vec4<f32>(0.0);
  for (var k0 = 0u; k0 < params.cols; k0 += 16u) {
    stage(thread, t0, o0, k0);
    workgroupBarrier();
    for (var k = 0u; k < 4u; k++) {
      let w0 = tile_w[tx * kPitch + k];
      let w1 = tile_w[(tx + 16u) * kPitch + k];
      let w2 = tile_w[(tx + 32u) * kPitch + k];
      let w3 = tile_w[(tx + 48u) * kPitch + k];
      let x0 = tile_x[ty * kPitch + k];
      let x1 = tile_x[(ty + 16u) * kPitch + k];
      let x2 = tile_x[(ty + 32u) * kPitch + k];
      let x3 = tile_x[(ty + 48u) * kPitch + k];
      s0 += vec4<f32>(dot(x0, w0), dot(x0, w1), dot(x0, w2), dot(x0, w3));
      s1 += vec4<f32>(dot(x1, w0), dot(x1, w1), dot(x1, w2), dot(x1, w3));
      s2 += vec4<f32>(dot(x2, w0), dot(x2, w1), dot(x2, w2), dot(x2, w3));
      s3 += vec4<f32>(dot(x3, w0), dot(x3, w1), dot(x3, w2), dot(x3, w3));
    }
    workgroupBarrier();
  }
  store4(t0 + ty, o0 + tx, s0);
  store4(t0 + ty + 16u, o0 + tx, s1);
  store4(t0 + ty + 32u, o0 + tx, s2);
  store4(t0 + ty + 48u, o0 + tx, s3);
}

fn store4(t: u32, row: u32, sums: vec4<f32>) {
  if (t < params.rows) {
    if (row < params.row_count) { store(t, row, sums.x); }
    if (row + 16u < params.row_count) { store(t, row + 16u, sums.y); }
    if (row + 32u < params.row_count) { store(t, row + 32u, sums.z); }
    if (row + 48u < params.row_count) { store(t, row + 48u, sums.w); }
  }
}
