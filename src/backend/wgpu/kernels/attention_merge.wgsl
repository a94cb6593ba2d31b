// attention_merge: joins the splits of attention_decode and attention_step.
// part: f32 [tokens, heads, splits, dim] unnormalised sums, then [tokens, heads, splits, 2] maximum and
// denominator; a split without keys has denominator 0 and any sums. y: f32 [tokens, heads, dim].
// At most 64 splits, dim <= 256. One workgroup of 256 a (token, head). Exact in F32; exp arguments are
// at most 0.
//:include common

struct Params {
  tokens: u32,
  heads: u32,
  dim: u32,
  splits: u32,
  part_offset: u32,
  y_offset: u32,
  y_token: u32,
  y_head: u32,
}

@group(0) @binding(0) var<storage, read> part: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

const kLowest = -3.0e38;
const kThreads = 256u;
const kMostSplits = 64u;
const kEarly = 16u;

var<workgroup> weights: array<f32, kMostSplits>;
var<workgroup> partial: array<f32, kThreads>;

// Sums of a split without keys are anything.
fn plus_weighed(value: f32, split: u32, sum: f32) -> f32 {
  let weight = select(0.0, weights[min(split, kMostSplits - 1u)], split < params.splits);
  return fma(weight, select(0.0, value, weight > 0.0), sum);
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>,
        @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let number = workgroup_index(group, groups);
  let index = min(number, params.tokens * params.heads - 1u);
  let stats = params.part_offset + params.tokens * params.heads * params.splits * params.dim +
              2u * index * params.splits;
  var top = kLowest;
  var total = 0.0;
  if (thread < params.splits) {
    total = part[stats + 2u * thread + 1u];
    top = select(kLowest, part[stats + 2u * thread], total > 0.0);
    weights[thread] = top;
  }
  // Several groups of threads, a dimension each, share the splits. The first parts are on their way while
  // the weights are made.
  let shares = kThreads / params.dim;
  let d = thread % params.dim;
  let share = min(thread / params.dim, shares - 1u);
  let row = params.part_offset + index * params.splits * params.dim + d;
  var early: array<f32, kEarly>;
  for (var i = 0u; i < kEarly; i++) {
    early[i] = part[row + min(share + i * shares, params.splits - 1u) * params.dim];
  }
  workgroupBarrier();
  var highest = kLowest;
  for (var s = 0u; s < params.splits; s++) {
    highest = max(highest, weights[s]);
  }
  let weight = select(0.0, exp(max(top - highest, -80.0)), total > 0.0);
  workgroupBarrier();
  if (thread < kMostSplits) {
    weights[thread] = weight;
    partial[thread] = weight * total;
  }
  workgroupBarrier();
  var denominator = 0.0;
  for (var s = 0u; s < params.splits; s++) {
    denominator += partial[s];
  }
  var sum = 0.0;
  for (var i = 0u; i < kEarly; i++) {
    sum = plus_weighed(early[i], share + i * shares, sum);
  }
  for (var s = share + kEarly * shares; s < params.splits; s += shares) {
    sum = plus_weighed(part[row + s * params.dim], s, sum);
  }
  workgroupBarrier();
  partial[thread] = sum;
  workgroupBarrier();
  if (thread < params.dim && number < params.tokens * params.heads) {
    for (var i = 1u; i < shares; i++) {
      sum += partial[thread + i * params.dim];
    }
    let to = params.y_offset + index / params.heads * params.y_token +
             index % params.heads * params.y_head;
    y[to + d] = sum * select(0.0, 1.0 / max(denominator, 1.0e-30), denominator > 0.0);
  }
}
