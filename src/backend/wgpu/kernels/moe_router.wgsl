// moe_router: the norm before the experts and the router's logits, for few tokens:
//   n[t] = x[t] / sqrt(mean(x[t]^2) + eps) * norm, logits[t, e] = w[e] . n[t].
// x, n: f32 [tokens, {{HIDDEN}}], gapless, the size a multiple of 8; norm: BF16 (NORM_BF16) or F32;
// w: [experts, {{HIDDEN}}] (W_*); logits: f32 [tokens, experts].
// A workgroup of 256 makes n of one token and four logits a subgroup; the first one of a token stores n.
// A lane makes {{ROUND}} steps in a loop that compilers unroll; the columns are a multiple of all lanes' or
// ROUND is 1. Needs subgroups. Shared: n and 256 B. Sums in F32. Grid: linear, blocks of experts x tokens.
//:include common
//:include weight

struct Params {
  tokens: u32,
  experts: u32,
  x_offset: u32,
  norm_offset: u32,
  w_start: u32,   // in elements or blocks
  w_stride: u32,
  n_offset: u32,
  logits_offset: u32,
  eps: f32,
}

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
//:if NORM_BF16
@group(0) @binding(1) var<storage, read> norm: array<vec4<u32>>;
//:else
@group(0) @binding(1) var<storage, read> norm: array<vec4<f32>>;
//:end
@group(0) @binding(2) var<storage, read> w: array<{{W_TYPE}}>;
@group(0) @binding(3) var<storage, read_write> n: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> logits: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

fn {{W_READ}}(which: u32, i: u32) -> {{W_TYPE}} {
  return w[i];
}

//:include norm8

const kHidden = {{HIDDEN}}u;
const kRound = {{ROUND}}u;

var<workgroup> row: array<vec4<f32>, kHidden / 4u>;
var<workgroup> squares: array<f32, 64>;  // of a subgroup each

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>,
        @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(subgroup_id) warp: u32,
        @builtin(subgroup_size) lanes: u32,
        @builtin(subgroup_invocation_id) lane: u32) {
  let thread = warp * lanes + lane;
  let subgroups = 256u / lanes;
  let blocks = (params.experts + subgroups * 4u - 1u) / (subgroups * 4u);
  let index = workgroup_index(group, groups);
  let token = min(index / blocks, params.tokens - 1u);

  var sum = 0.0;
  for (var c = thread * 8u; c < kHidden; c += 2048u) {
    let source = (params.x_offset + token * kHidden + c) >> 2u;
    let v = Eight(x[source], x[source + 1u]);
    row[c >> 2u] = v.lo;
    row[(c >> 2u) + 1u] = v.hi;
    sum += dot8(v, v);
  }
  sum = subgroupAdd(sum);
  if (lane == 0u) {
    squares[warp] = sum;
  }
  workgroupBarrier();
  sum = 0.0;
  for (var i = 0u; i < subgroups; i++) {
    sum += squares[i];
  }
  let scale = 1.0 / sqrt(sum / f32(kHidden) + params.eps);
  let stores = index % blocks == 0u && index < blocks * params.tokens;
  for (var c = thread * 8u; c < kHidden; c += 2048u) {
    let by = norm8(params.norm_offset + c);
    let lo = row[c >> 2u] * scale * by.lo;
    let hi = row[(c >> 2u) + 1u] * scale * by.hi;
    row[c >> 2u] = lo;
    row[(c >> 2u) + 1u] = hi;
    if (stores) {
      let to = (params.n_offset + token * kHidden + c) >> 2u;
      n[to] = lo;
      n[to + 1u] = hi;
    }
  }
  workgroupBarrier();

  let first = (index % blocks * subgroups + warp) * 4u;
  // Rows past the end repeat the last one.
  let rows = min(vec4<u32>(first) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.experts - 1u));
  let start = vec4<u32>(params.w_start) + rows * params.w_stride;
  var four = vec4<f32>(0.0);
  for (var begin = lane * 8u; begin < kHidden; begin += kRound * lanes * 8u) {
    for (var i = 0u; i < kRound; i++) {
      let c = begin + i * lanes * 8u;
      let v = Eight(row[c >> 2u], row[(c >> 2u) + 1u]);
      four += vec4<f32>(dot8(weight8(0u, start.x, c, kHidden), v), dot8(weight8(0u, start.y, c, kHidden), v),
                        dot8(weight8(0u, start.z, c, kHidden), v), dot8(weight8(0u, start.w, c, kHidden), v));
    }
  }
  four = subgroupAdd(four);
  if (lane == 0u && index < blocks * params.tokens) {
    let to = params.logits_offset + token * params.experts + first;
    for (var i = 0u; i < 4u; i++) {
      if (first + i < params.experts) {
        logits[to + i] = four[i];
      }
    }
  }
}
