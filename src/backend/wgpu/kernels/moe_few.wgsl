// moe_few: the expert matrices for few tokens: a tile of the plan (see moe_group) has at most four
// pairs of one expert, and a weight that was read is multiplied with all of them. (Eight need so many
// registers that fewer loads are under way, which costs more than reading some weights twice.)
// Under GATE_UP y[p, r] = silu(gate_e[r] . x[p / k]) * (up_e[r] . x[p / k]), else
// y[p, r] = down_e[r] . x[p], for the rows e * rows + r in [row_begin, row_end), one segment.
// Four rows a subgroup (two of gate and the same of up), without subgroups 32 threads, {{TIMES}} times.
// A thread makes {{ROUND}} steps in a loop that compilers unroll; the columns are a multiple of all lanes'.
// Workgroup 128; subgroups of at least four. Shared: 2 KiB without subgroups. Sums in F32, in an order that
// does not depend on the other pairs. Grid: blocks of rows x tiles; tiles beyond the plan do nothing.
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

// The eight columns of a lane in one step, c being the first. Under W_PAIR they are twice four, so
// that the lanes of a subgroup read x and w without gaps: the second four lie `apart` further, and past
// the end x is zero.
//:if W_PAIR
fn w_part(which: u32, start: u32, c: u32, apart: u32) -> Eight {
  return Eight(weight4(which, start, c), weight4(which, start, min(c + apart, params.cols - 4u)));
}

fn x_part(start: u32, c: u32, apart: u32) -> Eight {
  var far = vec4<f32>(0.0);
  if (c + apart < params.cols) {
    far = x[(start + c + apart) >> 2u];
  }
  return Eight(x[(start + c) >> 2u], far);
}
//:else
fn w_part(which: u32, start: u32, c: u32, apart: u32) -> Eight {
  return weight8(which, start, c, params.cols);
}

fn x_part(start: u32, c: u32, apart: u32) -> Eight {
  return x8(start, c, params.cols);
}
//:end

//:include moe_totals

const kRound = {{ROUND}}u;
const kTimes = {{TIMES}}u;
//:if GATE_UP
const kResults = 2u;
//:else
const kResults = 4u;
//:end

struct Place {
  expert: u32,
  first: u32,
  row: u32,
}

fn holds(place: Place, i: u32) -> bool {
  let row = place.expert * params.rows + place.row + i;
  return place.row + i < params.rows && row >= params.row_begin && row < params.row_end;
}

// Where row i of this subgroup lies in its matrix; the first row of the segment if it lies nowhere.
fn start_of(place: Place, i: u32) -> u32 {
  let row = place.expert * params.rows + place.row + i;
  return select(0u, row - params.row_begin, holds(place, i)) * params.w_stride;
}

fn x_start(place: Place, slot: u32) -> u32 {
  let pair = plan[params.order_offset + place.first + slot];
//:if GATE_UP
  return params.x_offset + pair / params.k * params.cols;
//:else
  return params.x_offset + pair * params.cols;
//:end
}

struct Rows {
  a: Eight,
  b: Eight,
  c: Eight,
  d: Eight,
}

// Explicit, so that every slot rounds alike.
fn add(sum: vec4<f32>, x: Eight, w: Rows) -> vec4<f32> {
  var s = fma(vec4<f32>(w.a.lo.x, w.b.lo.x, w.c.lo.x, w.d.lo.x), vec4<f32>(x.lo.x), sum);
  s = fma(vec4<f32>(w.a.lo.y, w.b.lo.y, w.c.lo.y, w.d.lo.y), vec4<f32>(x.lo.y), s);
  s = fma(vec4<f32>(w.a.lo.z, w.b.lo.z, w.c.lo.z, w.d.lo.z), vec4<f32>(x.lo.z), s);
  s = fma(vec4<f32>(w.a.lo.w, w.b.lo.w, w.c.lo.w, w.d.lo.w), vec4<f32>(x.lo.w), s);
  s = fma(vec4<f32>(w.a.hi.x, w.b.hi.x, w.c.hi.x, w.d.hi.x), vec4<f32>(x.hi.x), s);
  s = fma(vec4<f32>(w.a.hi.y, w.b.hi.y, w.c.hi.y, w.d.hi.y), vec4<f32>(x.hi.y), s);
  s = fma(vec4<f32>(w.a.hi.z, w.b.hi.z, w.c.hi.z, w.d.hi.z), vec4<f32>(x.hi.z), s);
  return fma(vec4<f32>(w.a.hi.w, w.b.hi.w, w.c.hi.w, w.d.hi.w), vec4<f32>(x.hi.w), s);
}

fn store(place: Place, slot: u32, sum: vec4<f32>) {
//:if GATE_UP
  let result = vec4<f32>(silu(sum.x) * sum.z, silu(sum.y) * sum.w, 0.0, 0.0);
//:else
  let result = sum;
//:end
  let pair = plan[params.order_offset + place.first + slot];
  for (var i = 0u; i < kResults; i++) {
    if (holds(place, i)) {
      y[params.y_offset + pair * params.rows + place.row + i] = result[i];
    }
  }
}

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3<u32>,
//:if SUBGROUPS
        @builtin(local_invocation_index) thread: u32,
        @builtin(subgroup_id) warp: u32,
        @builtin(subgroup_size) lanes: u32,
        @builtin(subgroup_invocation_id) lane: u32) {
//:else
        @builtin(local_invocation_index) thread: u32) {
  let warp = thread / kLanes;
  let lane = thread % kLanes;
  let lanes = kLanes;
//:end
  let rows_a_group = 128u / lanes * kResults;
  // Uniform, as are all branches on the number of pairs: the plan is bound read-only and the tile
  // comes from the workgroup's number.
  let entry = params.plan_offset + 1u + group.y * 3u;
  let count = plan[entry + 2u];
  var place = Place(plan[entry], plan[entry + 1u],
                    group.x * rows_a_group * kTimes + warp * kResults);
  if (group.y >= plan[params.plan_offset]) {
    return;
  }
  let last = count - 1u;
  let x0 = x_start(place, 0u);
  let x1 = x_start(place, min(1u, last));
  let x2 = x_start(place, min(2u, last));
  let x3 = x_start(place, min(3u, last));
//:if W_PAIR
  let own = lane * 4u;
  let apart = lanes * 4u;
//:else
  let own = lane * 8u;
  let apart = 0u;
//:end
  for (var t = 0u; t < kTimes; t++) {
    let wa = start_of(place, 0u);
    let wb = start_of(place, 1u);
//:if GATE_UP
//:else
    let wc = start_of(place, 2u);
    let wd = start_of(place, 3u);
//:end
    var s0 = vec4<f32>(0.0);
    var s1 = s0;
    var s2 = s0;
    var s3 = s0;
    for (var first = own; first < params.cols; first += kRound * lanes * 8u) {
      for (var i = 0u; i < kRound; i++) {
        let c = first + i * lanes * 8u;
        var rows: Rows;
        rows.a = w_part(0u, params.w_start + wa, c, apart);
        rows.b = w_part(0u, params.w_start + wb, c, apart);
//:if GATE_UP
        rows.c = w_part(1u, params.up_start + wa, c, apart);
        rows.d = w_part(1u, params.up_start + wb, c, apart);
//:else
        rows.c = w_part(0u, params.w_start + wc, c, apart);
        rows.d = w_part(0u, params.w_start + wd, c, apart);
//:end
        s0 = add(s0, x_part(x0, c, apart), rows);
        if (count > 1u) {
          s1 = add(s1, x_part(x1, c, apart), rows);
        }
        if (count > 2u) {
          s2 = add(s2, x_part(x2, c, apart), rows);
          s3 = add(s3, x_part(x3, c, apart), rows);
        }
      }
    }
    let sum = totals(s0, s1, s2, s3, thread, lane, lanes);
    if (lane < count) {
      store(place, lane, sum);
    }
    place.row += rows_a_group;
  }
}
