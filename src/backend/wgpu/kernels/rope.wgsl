// rope: optional RMSNorm of each head, then rotation of the pairs (i, i + half), or (2 i, 2 i + 1) with
// `interleaved`, by row positions[t] of the tables cos and sin.
// x: f32 [tokens, heads, dim]; cos, sin: f32 [positions, dim / 2]; weight: any float type (WITH_NORM).
// A (token, head) is a subgroup's, without subgroups 64 threads'. Workgroup 256. Shared: 1 KiB without
// subgroups. Sums in F32. Grid: linear.
//:include common
//:include reals

struct Params {
  tokens: u32,
  heads: u32,
  dim: u32,
  interleaved: u32,
  x_offset: u32,
  x_token: u32,
  x_head: u32,
  y_offset: u32,
  y_token: u32,
  y_head: u32,
  cos_offset: u32,
  sin_offset: u32,
  positions_offset: u32,
  weight_offset: u32,
  weight_kind: u32,
  eps: f32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> cosines: array<f32>;
@group(0) @binding(2) var<storage, read> sines: array<f32>;
@group(0) @binding(3) var<storage, read> positions: array<u32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
//:if WITH_NORM
@group(0) @binding(5) var<storage, read> weight: array<u32>;
@group(0) @binding(6) var<uniform> params: Params;
//:else
@group(0) @binding(5) var<uniform> params: Params;
//:end

//:if SUBGROUPS
fn total(part: f32, thread: u32, member: u32) -> f32 {
  return subgroupAdd(part);
}
//:else
var<workgroup> partial: array<f32, 256>;

fn total(part: f32, thread: u32, member: u32) -> f32 {
  partial[thread] = part;
  for (var step = 32u; step > 0u; step /= 2u) {
    workgroupBarrier();
    if (member < step) {
      partial[thread] += partial[thread + step];
    }
  }
  workgroupBarrier();
  return partial[thread - member];
}
//:end

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>,
        @builtin(num_workgroups) groups: vec3<u32>,
//:if SUBGROUPS
        @builtin(subgroup_id) warp: u32,
        @builtin(subgroup_size) lanes: u32,
        @builtin(subgroup_invocation_id) member: u32) {
  let team = warp;
  let thread = warp * lanes + member;
//:else
        @builtin(local_invocation_index) thread: u32) {
  const lanes = 64u;
  let team = thread / lanes;
  let member = thread % lanes;
//:end
  let number = workgroup_index(group, groups) * (256u / lanes) + team;
  let index = min(number, params.tokens * params.heads - 1u);
  let token = index / params.heads;
  let head = index % params.heads;
  let source = params.x_offset + token * params.x_token + head * params.x_head;
  let to = params.y_offset + token * params.y_token + head * params.y_head;
  var scale = 1.0;
//:if WITH_NORM
  var sum = 0.0;
  for (var d = member; d < params.dim; d += lanes) {
    sum += x[source + d] * x[source + d];
  }
  scale = 1.0 / sqrt(total(sum, thread, member) / f32(params.dim) + params.eps);
//:end
  let half_dim = params.dim / 2u;
  let row = positions[params.positions_offset + token] * half_dim;
  for (var i = member; i < half_dim; i += lanes) {
    let first = select(i, 2u * i, params.interleaved != 0u);
    let second = select(i + half_dim, 2u * i + 1u, params.interleaved != 0u);
    var a = x[source + first] * scale;
    var b = x[source + second] * scale;
//:if WITH_NORM
    let wa = params.weight_offset + first;
    let wb = params.weight_offset + second;
    a *= real_of(params.weight_kind, weight[word_of(params.weight_kind, wa)], wa);
    b *= real_of(params.weight_kind, weight[word_of(params.weight_kind, wb)], wb);
//:end
    let c = cosines[params.cos_offset + row + i];
    let s = sines[params.sin_offset + row + i];
    if (number < params.tokens * params.heads) {
      y[to + first] = a * c - b * s;
      y[to + second] = b * c + a * s;
    }
  }
}
