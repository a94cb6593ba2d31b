// moe_gate_up: act[p, r] = silu(gate_e[r] . x[t]) * (up_e[r] . x[t]) for every pair p = t * k + j of a
// token and one of its experts e = experts[p]. For few tokens: every pair reads its own weights.
// x: f32 [tokens, hidden], gate, up: rows e * inner + r; this dispatch computes the rows in
// [row_begin, row_end), which lie in one segment of both. act: f32 [pairs, inner].
// One row of both matrices a subgroup, without subgroups 32 threads. Workgroup 256.
// Shared: 2 KiB without subgroups. Sums in F32. Grid: linear over pairs and blocks of rows.
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
  gate_start: u32,   // where row row_begin starts, in elements or blocks
  up_start: u32,
  w_stride: u32,
  act_offset: u32,
}

@group(0) @binding(0) var<storage, read> x: array<{{X_TYPE}}>;
@group(0) @binding(1) var<storage, read> gate: array<{{W_TYPE}}>;
@group(0) @binding(2) var<storage, read> up: array<{{W_TYPE}}>;
@group(0) @binding(3) var<storage, read> experts: array<u32>;
@group(0) @binding(4) var<storage, read_write> act: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

//:include moe_io

fn {{W_READ}}(which: u32, i: u32) -> {{W_TYPE}} {
  if (which == 0u) {
    return gate[i];
  }
  return up[i];
}

//:if SUBGROUPS
//:else
const kLanes = 32u;
var<workgroup> partial: array<vec2<f32>, 256>;
//:end

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
  let blocks = (params.inner + rows_a_group - 1u) / rows_a_group;
  let index = workgroup_index(group, groups);
  let pair = min(index / blocks, params.pairs - 1u);
  let r = (index % blocks) * rows_a_group + warp;
  let row = experts[params.experts_offset + pair] * params.inner + r;
  let mine = index < blocks * params.pairs && r < params.inner && row >= params.row_begin &&
             row < params.row_end;
  var sum = vec2<f32>(0.0);
  if (mine) {
    let at = (row - params.row_begin) * params.w_stride;
    let x_start = params.x_offset + pair / params.k * params.hidden;
    for (var i = lane * 8u; i < params.hidden; i += lanes * 8u) {
      let piece = x8(x_start, i, params.hidden);
      sum += vec2<f32>(dot8(weight8(0u, params.gate_start + at, i, params.hidden), piece),
                       dot8(weight8(1u, params.up_start + at, i, params.hidden), piece));
    }
  }
//:if SUBGROUPS
  sum = vec2<f32>(subgroupAdd(sum.x), subgroupAdd(sum.y));
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
  if (mine && lane == 0u) {
    act[params.act_offset + pair * params.inner + r] = silu(sum.x) * sum.y;
  }
}
