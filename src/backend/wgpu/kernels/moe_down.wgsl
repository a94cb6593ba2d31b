// moe_down: y[t, h] = residual[t, h] + sum_j weights[t, j] * (down_e[h] . act[p]), p = t * k + j,
// e = experts[p], for few tokens. Under PARTIAL one dispatch writes part[p, h] = down_e[h] . act[p]
// for the rows e * hidden + h in [row_begin, row_end), one segment; moe_combine adds them up.
// x: the activations, f32 [pairs, inner]; experts u32 and weights f32 [tokens, k].
// One result a subgroup, without subgroups 32 threads. Workgroup 256. Shared: 1 KiB without subgroups.
// Sums in F32, experts in the order of j. Grid: linear over blocks of h and tokens (or pairs).
//:include common
//:include weight

struct Params {
  pairs: u32,
  k: u32,
  hidden: u32,
  inner: u32,
  row_begin: u32,
  row_end: u32,
  x_offset: u32,
  experts_offset: u32,
  weights_offset: u32,
  w_start: u32,      // where row row_begin starts, in elements or blocks
  w_stride: u32,
  y_offset: u32,
  residual_offset: u32,
}

@group(0) @binding(0) var<storage, read> x: array<{{X_TYPE}}>;
@group(0) @binding(1) var<storage, read> down: array<{{W_TYPE}}>;
@group(0) @binding(2) var<storage, read> experts: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
//:if PARTIAL
@group(0) @binding(4) var<uniform> params: Params;
//:else
@group(0) @binding(4) var<storage, read> weights: array<f32>;
//:if HAS_RESIDUAL
@group(0) @binding(5) var<storage, read> residual: array<f32>;
@group(0) @binding(6) var<uniform> params: Params;
//:else
@group(0) @binding(5) var<uniform> params: Params;
//:end
//:end

//:include moe_io

fn {{W_READ}}(which: u32, i: u32) -> {{W_TYPE}} {
  return down[i];
}

//:if SUBGROUPS
//:else
const kLanes = 32u;
var<workgroup> partial: array<f32, 256>;
//:end

// This lane's part of down_e[h] . act[pair]; 0 if the row lies in another segment.
fn part_of(pair: u32, h: u32, lane: u32, lanes: u32) -> f32 {
  let row = experts[params.experts_offset + pair] * params.hidden + h;
  var sum = 0.0;
  if (row >= params.row_begin && row < params.row_end) {
    let start = params.w_start + (row - params.row_begin) * params.w_stride;
    let x_start = params.x_offset + pair * params.inner;
    for (var i = lane * 8u; i < params.inner; i += lanes * 8u) {
      sum += dot8(weight8(0u, start, i, params.inner), x8(x_start, i, params.inner));
    }
  }
  return sum;
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>,
        @builtin(num_workgroups) groups: vec3<u32>,
//:if SUBGROUPS
        @builtin(subgroup_id) warp: u32,
        @builtin(subgroup_size) lanes: u32,
        @builtin(subgroup_invocation_id) lane: u32) {
//:else
        @builtin(local_invocation_index) thread: u32) {
  let warp = thread / kLanes;
  let lane = thread % kLanes;
  let lanes = kLanes;
//:end
  let rows_a_group = 256u / lanes;
  let blocks = (params.hidden + rows_a_group - 1u) / rows_a_group;
  let index = workgroup_index(group, groups);
  let h = (index % blocks) * rows_a_group + warp;
  let column = min(h, params.hidden - 1u);
//:if PARTIAL
  let count = params.pairs;
  let item = min(index / blocks, count - 1u);
  var sum = part_of(item, column, lane, lanes);
//:else
  let count = params.pairs / params.k;
  let item = min(index / blocks, count - 1u);
  var sum = 0.0;
  for (var j = 0u; j < params.k; j++) {
    let pair = item * params.k + j;
    sum += weights[params.weights_offset + pair] * part_of(pair, column, lane, lanes);
  }
//:end
//:if SUBGROUPS
  sum = subgroupAdd(sum);
//:else
  partial[thread] = sum;
  for (var step = kLanes / 2u; step > 0u; step /= 2u) {
    workgroupBarrier();
    if (lane < step) {
      partial[thread] += partial[thread + step];
    }
  }
  sum = partial[thread];
//:end
  if (lane == 0u && h < params.hidden && index < blocks * count) {
//:if PARTIAL
    let row = experts[params.experts_offset + item] * params.hidden + h;
    if (row >= params.row_begin && row < params.row_end) {
      y[params.y_offset + item * params.hidden + h] = sum;
    }
//:else
    let at = item * params.hidden + h;
//:if HAS_RESIDUAL
    sum += residual[params.residual_offset + at];
//:end
    y[params.y_offset + at] = sum;
//:end
  }
}
