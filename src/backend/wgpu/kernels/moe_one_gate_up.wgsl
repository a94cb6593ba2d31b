// moe_one_gate_up: routing and the first half of the experts for one token. act[j, r] =
// silu(gate_e[r] . n) * (up_e[r] . n), n = x / sqrt(mean(x^2) + eps) * norm, for the k best experts
// e = route[j] of the logits. Every workgroup ranks the experts itself; the first one writes route: u32
// [2, k], experts and the bits of their F32 weights.
// x: f32 [hidden], hidden a multiple of 8; norm: BF16 (NORM_BF16) or F32; logits: f32 [experts], at
// most 256 experts, k <= 64; gate, up: [experts, inner, hidden] (W_*). One row of both matrices a team
// of {{TEAM}} threads. Workgroup 256. Shared: 1 KiB, without subgroups 5.5. Sums in F32. Grid: linear,
// blocks of rows x k.
// {{HIDDEN}}, {{INNER}}, {{K}}, {{EXPERTS}}, {{GATE_START}}, {{UP_START}}, {{W_STRIDE}}, {{ROUND}}: see
// linear_gemv.
//:include common
//:include weight

struct Params {
  experts: u32,
  k: u32,
  hidden: u32,
  inner: u32,
  x_offset: u32,
  norm_offset: u32,
  logits_offset: u32,
  gate_start: u32,   // where a matrix starts, in elements or blocks
  up_start: u32,
  w_stride: u32,
  act_offset: u32,
  route_offset: u32,
  eps: f32,
}

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
//:if NORM_BF16
@group(0) @binding(1) var<storage, read> norm: array<vec4<u32>>;
//:else
@group(0) @binding(1) var<storage, read> norm: array<vec4<f32>>;
//:end
@group(0) @binding(2) var<storage, read> logits: array<f32>;
@group(0) @binding(3) var<storage, read> gate: array<{{W_TYPE}}>;
@group(0) @binding(4) var<storage, read> up: array<{{W_TYPE}}>;
@group(0) @binding(5) var<storage, read_write> act: array<f32>;
@group(0) @binding(6) var<storage, read_write> route: array<u32>;
@group(0) @binding(7) var<uniform> params: Params;

fn {{W_READ}}(which: u32, i: u32) -> {{W_TYPE}} {
  if (which == 1u) {
    return up[i];
  }
  return gate[i];
}

const kTeam = {{TEAM}}u;
const kRound = {{ROUND}}u;

var<workgroup> sums: array<vec3<f32>, {{SUMS}}>;

//:include moe_io
//:include norm8
//:include rank_experts

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
  let team = thread / kTeam;
  let member = thread % kTeam;
  const rows_a_group = 256u / kTeam;
  let blocks = (inner + rows_a_group - 1u) / rows_a_group;
  let index = workgroup_index(group, groups);
  let slot = min(index / blocks, {{K}} - 1u);
  let count = select(slot + 1u, {{K}}, index == 0u);
//:if SUBGROUPS
  let ranked = rank_experts(params.logits_offset, slot, count, thread, lane, lanes);
//:else
  let ranked = rank_experts(params.logits_offset, slot, count, thread);
//:end
  let r = (index % blocks) * rows_a_group + team;
  let at = (ranked.expert * inner + min(r, inner - 1u)) * {{W_STRIDE}};
  var sum = vec3<f32>(0.0);  // gate, up, squares
  for (var first = member * 8u; first < hidden; first += kRound * kTeam * 8u) {
    for (var i = 0u; i < kRound; i++) {
      let k = first + i * kTeam * 8u;
      let g = weight8(0u, {{GATE_START}} + at, k, hidden);
      let u = weight8(1u, {{UP_START}} + at, k, hidden);
      let v = x8(params.x_offset, k, hidden);
      let scale = norm8(params.norm_offset + k);
      let n = Eight(v.lo * scale.lo, v.hi * scale.hi);
      sum += vec3<f32>(dot8(g, n), dot8(u, n), dot8(v, v));
    }
  }
//:if SUBGROUPS
  sum = subgroupAdd(sum);
//:if COMBINE
  sums[warp] = sum;
  workgroupBarrier();
  sum = vec3<f32>(0.0);
  for (var i = team * kTeam / lanes; i < (team + 1u) * kTeam / lanes; i++) {
    sum += sums[i];
  }
//:end
//:else
  sums[thread] = sum;
  for (var step = kTeam / 2u; step > 0u; step /= 2u) {
    workgroupBarrier();
    if (member < step) {
      sums[thread] += sums[thread + step];
    }
  }
  sum = sums[thread];
//:end
  if (member == 0u && r < inner && index < blocks * {{K}}) {
    let scale = 1.0 / sqrt(sum.z / f32(hidden) + params.eps);
    act[params.act_offset + slot * inner + r] = silu(scale * sum.x) * scale * sum.y;
  }
  if (index == 0u && thread < {{K}}) {
    route[params.route_offset + thread] = ranked.own;
    route[params.route_offset + {{K}} + thread] = bitcast<u32>(ranked.weight);
  }
}
