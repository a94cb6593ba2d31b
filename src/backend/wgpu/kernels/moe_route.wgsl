// moe_route: softmax over all experts, the k largest, largest first, the lower index first among
// equals; weights divided by their sum under NORMALIZE.
// logits: f32 [tokens, experts], experts <= 1024, k <= 64; experts u32 and weights f32 [tokens, k].
// SUBGROUPS: a subgroup finds a token's experts one after the other, without barriers; k is at most its
// size, experts 32 times that. Else a workgroup of 256 a token, each thread ranks its experts by counting the
// larger ones; shared: 5.3 KiB. F32; exp arguments are at most 0. Grid: linear.
//:include common

struct Params {
  tokens: u32,
  count: u32,
  k: u32,
  logits_offset: u32,
  logits_stride: u32,
  experts_offset: u32,
  weights_offset: u32,
}

@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read_write> experts: array<u32>;
@group(0) @binding(2) var<storage, read_write> weights: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

//:if SUBGROUPS
//:include rank_experts

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>,
        @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(subgroup_id) warp: u32,
        @builtin(subgroup_size) lanes: u32,
        @builtin(subgroup_invocation_id) lane: u32) {
  let index = workgroup_index(group, groups) * (256u / lanes) + warp;
  let token = min(index, params.tokens - 1u);
  let row = params.logits_offset + token * params.logits_stride;
  let ranked = rank_experts(row, 0u, params.k, lane, lane, lanes);
  if (lane < params.k && index < params.tokens) {
    experts[params.experts_offset + token * params.k + lane] = ranked.own;
    weights[params.weights_offset + token * params.k + lane] = ranked.weight;
  }
}
//:else
var<workgroup> values: array<f32, 1024>;
var<workgroup> partial: array<f32, 256>;
var<workgroup> chosen: array<f32, 64>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>,
        @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let index = workgroup_index(group, groups);
  let token = min(index, params.tokens - 1u);
  var largest = -3.0e38;
  for (var e = thread; e < params.count; e += 256u) {
    let value = logits[params.logits_offset + token * params.logits_stride + e];
    values[e] = value;
    largest = max(largest, value);
  }
  partial[thread] = largest;
  for (var step = 128u; step > 0u; step /= 2u) {
    workgroupBarrier();
    if (thread < step) {
      partial[thread] = max(partial[thread], partial[thread + step]);
    }
  }
  workgroupBarrier();
  largest = partial[0];
  workgroupBarrier();
  var sum = 0.0;
  for (var e = thread; e < params.count; e += 256u) {
    sum += exp(max(values[e] - largest, -80.0));
  }
  partial[thread] = sum;
  for (var step = 128u; step > 0u; step /= 2u) {
    workgroupBarrier();
    if (thread < step) {
      partial[thread] += partial[thread + step];
    }
  }
  workgroupBarrier();
  sum = partial[0];
  for (var e = thread; e < params.count; e += 256u) {
    let value = values[e];
    var rank = 0u;
    for (var other = 0u; other < params.count; other++) {
      let v = values[other];
      rank += select(0u, 1u, v > value || (v == value && other < e));
    }
    if (rank < params.k) {
      chosen[rank] = exp(max(value - largest, -80.0)) / sum;
      if (index < params.tokens) {
        experts[params.experts_offset + token * params.k + rank] = e;
      }
    }
  }
  workgroupBarrier();
  if (thread < params.k && index < params.tokens) {
    var total = 1.0;
//:if NORMALIZE
    total = 0.0;
    for (var j = 0u; j < params.k; j++) {
      total += chosen[j];
    }
//:end
    weights[params.weights_offset + token * params.k + thread] = chosen[thread] / total;
  }
}
//:end
