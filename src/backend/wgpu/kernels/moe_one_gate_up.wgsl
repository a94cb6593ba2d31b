// moe_one_gate_up: routing and the first half of the experts for one token. act[j, r] =
// silu(gate_e[r] . n) * (up_e[r] . n), n = x / sqrt(mean(x^2) + eps) * norm, for the k best experts
// e = route[j] of the logits; ties go to the lower index. Every workgroup ranks the experts itself, by
// counting the larger logits; the first one writes route: u32 [2, k], experts and the bits of their
// F32 weights, softmax over all experts or, under NORMALIZE, over the chosen ones.
// x: f32 [hidden], hidden a multiple of 8; norm: BF16 (NORM_BF16) or F32; logits: f32 [experts], at
// most 256 experts, k <= 64; gate, up: [experts, inner, hidden] (W_*). One row of both matrices a team
// of {{TEAM}} threads. Workgroup 256. Shared: 3.6 KiB. Sums in F32. Grid: linear, blocks of rows x k.
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
const kLowest = -3.0e38;

var<workgroup> values: array<vec4<f32>, 64>;
var<workgroup> ranks: array<atomic<u32>, 256>;
var<workgroup> chosen: array<u32, 64>;
var<workgroup> best: array<f32, 64>;
var<workgroup> sums: array<vec3<f32>, {{SUMS}}>;

//:include moe_io
//:include norm8

// Fills chosen and best with the k best experts, best first. Up to 128 experts have two threads each,
// which look at half of the others.
fn rank_experts(thread: u32) {
  values[thread >> 2u][thread & 3u] =
    select(kLowest, logits[params.logits_offset + min(thread, params.experts - 1u)],
           thread < params.experts);
  atomicStore(&ranks[thread], 0u);
  workgroupBarrier();
  let halves = select(1u, 2u, params.experts <= 128u);
  let expert = select(thread, thread & 127u, halves == 2u);
  let quads = (params.experts + 4u * halves - 1u) / (4u * halves);
  let mine = values[expert >> 2u][expert & 3u];
  var rank = 0u;
  if (expert < params.experts) {
    let first = select(0u, (thread >> 7u) * quads, halves == 2u);
    for (var i = first; i < first + quads; i++) {
      let other = values[i];
      let index = vec4<u32>(4u * i) + vec4<u32>(0u, 1u, 2u, 3u);
      let ahead = (other > vec4<f32>(mine)) |
                  ((other == vec4<f32>(mine)) & (index < vec4<u32>(expert)));
      let ones = select(vec4<u32>(0u), vec4<u32>(1u), ahead);
      rank += ones.x + ones.y + ones.z + ones.w;
    }
    atomicAdd(&ranks[expert], rank);
  }
  workgroupBarrier();
  rank = atomicLoad(&ranks[thread]);
  if (thread < params.experts && rank < params.k) {
    chosen[rank] = thread;
    best[rank] = values[thread >> 2u][thread & 3u];
  }
  workgroupBarrier();
}

fn write_route(j: u32) {
  var total = 0.0;
//:if NORMALIZE
  for (var i = 0u; i < params.k; i++) {
    total += exp(max(best[i] - best[0], -80.0));
  }
//:else
  for (var i = 0u; i < params.experts; i++) {
    total += exp(max(values[i >> 2u][i & 3u] - best[0], -80.0));
  }
//:end
  route[params.route_offset + j] = chosen[j];
  route[params.route_offset + params.k + j] =
    bitcast<u32>(exp(max(best[j] - best[0], -80.0)) / total);
}

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
  rank_experts(thread);
  let team = thread / kTeam;
  let member = thread % kTeam;
  const rows_a_group = 256u / kTeam;
  let blocks = (params.inner + rows_a_group - 1u) / rows_a_group;
  let index = workgroup_index(group, groups);
  let slot = min(index / blocks, params.k - 1u);
  let r = (index % blocks) * rows_a_group + team;
  let at = (chosen[slot] * params.inner + min(r, params.inner - 1u)) * params.w_stride;
  var sum = vec3<f32>(0.0);  // gate, up, squares
  for (var k = member * 8u; k < params.hidden; k += kTeam * 8u) {
    let g = weight8(0u, params.gate_start + at, k, params.hidden);
    let u = weight8(1u, params.up_start + at, k, params.hidden);
    let v = x8(params.x_offset, k, params.hidden);
    let scale = norm8(params.norm_offset + k);
    let n = Eight(v.lo * scale.lo, v.hi * scale.hi);
    sum += vec3<f32>(dot8(g, n), dot8(u, n), dot8(v, v));
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
  if (member == 0u && r < params.inner && index < blocks * params.k) {
    let scale = 1.0 / sqrt(sum.z / f32(params.hidden) + params.eps);
    act[params.act_offset + slot * params.inner + r] = silu(scale * sum.x) * scale * sum.y;
  }
  if (index == 0u && thread < params.k) {
    write_route(thread);
  }
}
