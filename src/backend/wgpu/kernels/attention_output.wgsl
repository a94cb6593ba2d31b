// attention_output: the output projection of one token, from the splits of attention_step, which it joins:
//   y[o] = residual[o] + sum_c x[c] w[o, c], x[h * dim + d] = sum_s share(h, s) part[h, s, d].
// part: f32 [heads, splits, dim] unnormalised sums, then [heads, splits, 2] maximum and denominator; a split
// without keys has denominator 0 and any sums. {{SPLITS}} splits, at most 256 heads, dim a multiple of 8.
// w: rows [row_begin, row_begin + row_count) of the weight in one segment. y, residual: f32, gapless.
// A workgroup of 256 makes {{ROWS}} rows: a thread joins eight columns and multiplies them with all of these,
// {{ROUND}} times in a loop that compilers unroll; the columns are a multiple of all threads' or ROUND is 1.
// Sizes of large weights are numbers in this text, as in linear_gemv. Shared: 1 KiB a split and 64 x ROWS
// words. Sums in F32; exp arguments are at most 0. Grid: linear over blocks of rows.
//:include common
//:include weight

struct Params {
  heads: u32,
  dim: u32,
  cols: u32,
  row_begin: u32,
  row_count: u32,
  w_start: u32,   // where row row_begin starts, in elements
  w_stride: u32,
  part_offset: u32,
  residual_offset: u32,
  y_offset: u32,
}

@group(0) @binding(0) var<storage, read> part: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<storage, read> residual: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

const kSplits = {{SPLITS}}u;
const kRows = {{ROWS}}u;
const kRound = {{ROUND}}u;
const kLowest = -3.0e38;

var<workgroup> shares: array<f32, 256u * kSplits>;  // [head][split]
var<workgroup> partial: array<f32, 64u * kRows>;    // [subgroup][row]

fn w_quad(which: u32, i: u32) -> vec4<u32> {
  return w[i];
}

// Maximum and denominator of a split; the offset and two splits are a multiple of four words.
fn stats_of(head: u32, split: u32) -> vec2<f32> {
  let at = params.part_offset + params.heads * kSplits * params.dim + 2u * (head * kSplits + split);
  let four = part[at >> 2u];
  return select(four.xy, four.zw, (at & 2u) != 0u);
}

// What each split of a head counts for, the head's denominator divided out.
fn share(head: u32) {
  var stats: array<vec2<f32>, kSplits>;
  var top = kLowest;
  for (var s = 0u; s < kSplits; s++) {
    stats[s] = stats_of(head, s);
    top = max(top, select(kLowest, stats[s].x, stats[s].y > 0.0));
  }
  var total = 0.0;
  for (var s = 0u; s < kSplits; s++) {
    let scale = select(0.0, exp(max(stats[s].x - top, -80.0)), stats[s].y > 0.0);
    shares[head * kSplits + s] = scale;
    total += scale * stats[s].y;
  }
  for (var s = 0u; s < kSplits; s++) {
    shares[head * kSplits + s] /= max(total, 1.0e-30);
  }
}

// Columns c .. c + 7, all of one head.
fn joined(c: u32) -> Eight {
  let head = c / params.dim;
  var at = (params.part_offset + head * (kSplits - 1u) * params.dim + c) >> 2u;
  var sum = Eight(vec4<f32>(0.0), vec4<f32>(0.0));
  for (var s = 0u; s < kSplits; s++) {
    let share = shares[head * kSplits + s];
    if (share > 0.0) {
      sum.lo += share * part[at];
      sum.hi += share * part[at + 1u];
    }
    at += params.dim >> 2u;
  }
  return sum;
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>,
        @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(subgroup_id) warp: u32,
        @builtin(subgroup_size) lanes: u32,
        @builtin(subgroup_invocation_id) lane: u32) {
  let thread = warp * lanes + lane;
  let cols = {{COLS}};
  let row_count = {{ROW_COUNT}};
  let row0 = workgroup_index(group, groups) * kRows;
  if (thread < params.heads) {
    share(thread);
  }
  workgroupBarrier();
  var sums: array<f32, kRows>;
  for (var r = 0u; r < kRows; r++) {
    sums[r] = 0.0;
  }
  for (var first = thread * 8u; first < cols; first += kRound * 2048u) {
    for (var i = 0u; i < kRound; i++) {
      let c = first + i * 2048u;
      let x = joined(c);
      for (var r = 0u; r < kRows; r++) {
        // Rows past the end repeat the last one.
        let start = {{W_START}} + min(row0 + r, row_count - 1u) * {{W_STRIDE}};
        sums[r] += dot8(weight8(0u, start, c, cols), x);
      }
    }
  }
  for (var r = 0u; r < kRows; r++) {
    let sum = subgroupAdd(sums[r]);
    if (lane == 0u) {
      partial[warp * kRows + r] = sum;
    }
  }
  workgroupBarrier();
  let row = row0 + thread;
  if (thread < kRows && row < row_count) {
    var sum = 0.0;
    for (var i = 0u; i < 256u / lanes; i++) {
      sum += partial[i * kRows + thread];
    }
    let o = params.row_begin + row;
    y[params.y_offset + o] = residual[params.residual_offset + o] + sum;
  }
}
