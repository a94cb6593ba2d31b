// moe_one_down: the second half of the experts for one token: y[h] = residual[h] + sum over j of
// weight_j * (down_e[h] . x[j]), e and weight_j from route, as moe_one_gate_up leaves them.
// x: f32 [k, inner]; down: [experts, hidden, inner] (W_*); residual, y: f32 [hidden].
// A team of {{TEAM}} threads takes every (256 / TEAM)th j for {{ROWS}} rows h, whose loads are all in
// flight; the teams' sums are added in a fixed order. Workgroup 256. Shared: 4 KiB. Sums in F32.
// Grid: linear over blocks of rows. {{HIDDEN}}, {{INNER}}, {{K}}, {{W_START}}, {{W_STRIDE}}, {{ROUND}}: see
// linear_gemv.
//:include common
//:include weight

struct Params {
  k: u32,
  hidden: u32,
  inner: u32,
  x_offset: u32,
  route_offset: u32,
  w_start: u32,
  w_stride: u32,
  residual_offset: u32,
  y_offset: u32,
}

@group(0) @binding(0) var<storage, read> x: array<{{X_TYPE}}>;
@group(0) @binding(1) var<storage, read> route: array<u32>;
@group(0) @binding(2) var<storage, read> down: array<{{W_TYPE}}>;
@group(0) @binding(3) var<storage, read> residual: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

fn {{W_READ}}(which: u32, i: u32) -> {{W_TYPE}} {
  return down[i];
}

const kTeam = {{TEAM}}u;
const kRows = {{ROWS}}u;
const kRound = {{ROUND}}u;

var<workgroup> partial: array<f32, kRows * 256u>;

//:include moe_io

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>,
        @builtin(num_workgroups) groups: vec3<u32>,
//:if SUBGROUPS
        @builtin(subgroup_id) warp: u32,
        @builtin(subgroup_size) lanes: u32,
        @builtin(subgroup_invocation_id) lane: u32) {
  let thread = warp * lanes + lane;
//:else
        @builtin(local_invocation_index) thread: u32) {
//:end
  let hidden = {{HIDDEN}};
  let inner = {{INNER}};
  let member = thread % kTeam;
  let h0 = workgroup_index(group, groups) * kRows;
  var sums: array<f32, kRows>;
  for (var r = 0u; r < kRows; r++) {
    sums[r] = 0.0;
  }
  for (var j = thread / kTeam; j < {{K}}; j += 256u / kTeam) {
    let expert = route[params.route_offset + j] * hidden;
    let weight = bitcast<f32>(route[params.route_offset + {{K}} + j]);
    for (var first = member * 8u; first < inner; first += kRound * kTeam * 8u) {
      for (var i = 0u; i < kRound; i++) {
        let k = first + i * kTeam * 8u;
        let v = x8(params.x_offset + j * inner, k, inner);
        for (var r = 0u; r < kRows; r++) {
          let start = {{W_START}} + (expert + min(h0 + r, hidden - 1u)) * {{W_STRIDE}};
          sums[r] += weight * dot8(weight8(0u, start, k, inner), v);
        }
      }
    }
  }
  for (var r = 0u; r < kRows; r++) {
//:if SUBGROUPS
    let sum = subgroupAdd(sums[r]);
    if (lane == 0u) {
      partial[r * 256u + warp] = sum;
    }
//:else
    partial[r * 256u + thread] = sums[r];
//:end
  }
//:if SUBGROUPS
  let parts = 256u / lanes;
//:else
  let parts = 8u;
  for (var step = 128u; step >= parts; step /= 2u) {
    workgroupBarrier();
    if (thread < step) {
      for (var r = 0u; r < kRows; r++) {
        partial[r * 256u + thread] += partial[r * 256u + thread + step];
      }
    }
  }
//:end
  workgroupBarrier();
  let h = h0 + thread;
  if (thread < kRows && h < hidden) {
    var sum = 0.0;
    for (var i = 0u; i < parts; i++) {
      sum += partial[thread * 256u + i];
    }
    y[params.y_offset + h] = residual[params.residual_offset + h] + sum;
  }
}
