// moe_tile: the expert matrices for many tokens, by tiles of pairs of one expert (see moe_group).
// Under GATE_UP y[p, r] = silu(gate_e[r] . x[p / k]) * (up_e[r] . x[p / k]), else
// y[p, r] = down_e[r] . x[p], for the rows e * rows + r in [row_begin, row_end), one segment.
// A workgroup of 256 makes 32 pairs x 64 rows, 2 x 4 a thread and matrix; 16 columns at a time lie in
// workgroup memory as vec4 along the columns, rows padded from 4 vec4 to 5 against bank conflicts.
// The second pair of a thread is left out in tiles of at most 16. Shared: 7.5 KiB, with GATE_UP 12.5 KiB.
// Sums in F32. Grid: blocks of rows x tiles; tiles beyond the plan do nothing.
//:include weight

struct Params {
  k: u32,
  cols: u32,
  rows: u32,         // of one expert
  row_begin: u32,
  row_end: u32,
  x_offset: u32,
  plan_offset: u32,
  order_offset: u32,
  w_start: u32,      // where row row_begin starts, in elements or blocks
  up_start: u32,
  w_stride: u32,
  y_offset: u32,
}

@group(0) @binding(0) var<storage, read> x: array<{{X_TYPE}}>;
@group(0) @binding(1) var<storage, read> w: array<{{W_TYPE}}>;
@group(0) @binding(2) var<storage, read> plan: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
//:if GATE_UP
@group(0) @binding(4) var<storage, read> up: array<{{W_TYPE}}>;
@group(0) @binding(5) var<uniform> params: Params;
//:else
@group(0) @binding(4) var<uniform> params: Params;
//:end

//:include moe_io

fn {{W_READ}}(which: u32, i: u32) -> {{W_TYPE}} {
//:if GATE_UP
  if (which == 1u) {
    return up[i];
  }
//:end
  return w[i];
}

const kPitch = 5u;

var<workgroup> tile_x: array<vec4<f32>, 160>;
var<workgroup> tile_w: array<vec4<f32>, 320>;
//:if GATE_UP
var<workgroup> tile_up: array<vec4<f32>, 320>;
//:end

fn x_row(pair: u32) -> u32 {
//:if GATE_UP
  return params.x_offset + pair / params.k * params.cols;
//:else
  return params.x_offset + pair * params.cols;
//:end
}

// Pieces of eight columns: 64 of x, 128 of w and as many of up, spread over the 256 threads.
fn stage(thread: u32, expert: u32, first: u32, count: u32, r0: u32, k0: u32) {
  for (var piece = thread; piece < {{PIECES}}u; piece += 256u) {
    let k = k0 + (piece & 1u) * 8u;
    var value = Eight(vec4<f32>(0.0), vec4<f32>(0.0));
    let side = (piece & 1u) * 2u;
    if (piece < 64u) {
      let i = piece >> 1u;
      if (k < params.cols) {
        let pair = plan[params.order_offset + first + min(i, count - 1u)];
        value = x8(x_row(pair), k, params.cols);
      }
      tile_x[i * kPitch + side] = value.lo;
      tile_x[i * kPitch + side + 1u] = value.hi;
    } else {
      let which = (piece - 64u) >> 7u;
      let i = ((piece - 64u) & 127u) >> 1u;
      let row = expert * params.rows + min(r0 + i, params.rows - 1u);
      if (k < params.cols && row >= params.row_begin && row < params.row_end) {
        let at = (row - params.row_begin) * params.w_stride;
//:if GATE_UP
        if (which == 1u) {
          value = weight8(1u, params.up_start + at, k, params.cols);
        } else {
          value = weight8(0u, params.w_start + at, k, params.cols);
        }
//:else
        value = weight8(0u, params.w_start + at, k, params.cols);
//:end
      }
//:if GATE_UP
      if (which == 1u) {
        tile_up[i * kPitch + side] = value.lo;
        tile_up[i * kPitch + side + 1u] = value.hi;
      } else {
        tile_w[i * kPitch + side] = value.lo;
        tile_w[i * kPitch + side + 1u] = value.hi;
      }
//:else
      tile_w[i * kPitch + side] = value.lo;
      tile_w[i * kPitch + side + 1u] = value.hi;
//:end
    }
  }
}

// Four columns of as many rows of weights.
struct Four {
  a: vec4<f32>,
  b: vec4<f32>,
  c: vec4<f32>,
  d: vec4<f32>,
}

fn dots(x: vec4<f32>, w: Four) -> vec4<f32> {
  return vec4<f32>(dot(x, w.a), dot(x, w.b), dot(x, w.c), dot(x, w.d));
}

fn store(expert: u32, first: u32, count: u32, i: u32, r: u32, value: f32) {
  let row = expert * params.rows + r;
  if (i < count && r < params.rows && row >= params.row_begin && row < params.row_end) {
    let pair = plan[params.order_offset + first + i];
    y[params.y_offset + pair * params.rows + r] = value;
  }
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let r0 = group.x * 64u;
  // Uniform: the plan is bound read-only and the tile comes from the workgroup's number.
  if (group.y >= plan[params.plan_offset]) {
    return;
  }
  let entry = params.plan_offset + 1u + group.y * 3u;
  let expert = plan[entry];
  let first = plan[entry + 1u];
  let count = plan[entry + 2u];
  // Rows of another segment: nothing to do.
  let row0 = expert * params.rows + r0;
  if (row0 >= params.row_end || row0 + 64u <= params.row_begin) {
    return;
  }
  let both = count > 16u;
  let tx = thread & 15u;
  let ty = thread >> 4u;
  var s0 = vec4<f32>(0.0);
  var s1 = vec4<f32>(0.0);
//:if GATE_UP
  var u0 = vec4<f32>(0.0);
  var u1 = vec4<f32>(0.0);
//:end
  for (var k0 = 0u; k0 < params.cols; k0 += 16u) {
    stage(thread, expert, first, count, r0, k0);
    workgroupBarrier();
    for (var k = 0u; k < 4u; k++) {
      let x0 = tile_x[ty * kPitch + k];
      let w = Four(tile_w[tx * kPitch + k], tile_w[(tx + 16u) * kPitch + k],
                   tile_w[(tx + 32u) * kPitch + k], tile_w[(tx + 48u) * kPitch + k]);
      s0 += dots(x0, w);
//:if GATE_UP
      let v = Four(tile_up[tx * kPitch + k], tile_up[(tx + 16u) * kPitch + k],
                   tile_up[(tx + 32u) * kPitch + k], tile_up[(tx + 48u) * kPitch + k]);
      u0 += dots(x0, v);
//:end
      if (both) {
        let x1 = tile_x[(ty + 16u) * kPitch + k];
        s1 += dots(x1, w);
//:if GATE_UP
        u1 += dots(x1, v);
//:end
      }
    }
    workgroupBarrier();
  }
  for (var j = 0u; j < 4u; j++) {
    let r = r0 + tx + 16u * j;
//:if GATE_UP
    store(expert, first, count, ty, r, silu(s0[j]) * u0[j]);
    store(expert, first, count, ty + 16u, r, silu(s1[j]) * u1[j]);
//:else
    store(expert, first, count, ty, r, s0[j]);
    store(expert, first, count, ty + 16u, r, s1[j]);
//:end
  }
}
