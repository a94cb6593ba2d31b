// attention_matrix_io: workgroup memory of attention_matrix and the steps that it takes several
// times. Needs weight.wgsl and attention_tiles.wgsl.

alias Left = subgroup_matrix_left<f16, 16, 16>;
alias Right = subgroup_matrix_right<f16, 16, 16>;
alias Result = subgroup_matrix_result<f32, 16, 16>;

const kRows = 128u;
const kKeys = 32u;
const kSlack = 8.0;         // e^8 and 128 such shares are far from the limit of F16
const kPitch = 136u;        // of keys and values, eight more than a row against bank conflicts
const kValues = 4352u;      // where they begin in `halves`
const kShares = 8704u;
const kSharePitch = 40u;
const kScorePitch = 36u;
const kQueryPitch = 72u;    // queries pass through `halves`, 64 dimensions at a time

// Each variable is a multiple of 16 bytes: NVIDIA loads matrices from addresses that are.
var<workgroup> halves: array<f16, 13824>;  // keys [32][dim], values [32][dim], shares [row][key]
var<workgroup> scores: array<f32, 4608>;   // [row][key]; also two pieces of the results
var<workgroup> stale: array<atomic<u32>, 4>;  // [0]: whether a row's reference rose


fn half(value: f32) -> f16 {
  return f16(clamp(value, -65504.0, 65504.0));
}

fn put8(at: u32, v: Eight) {
  halves[at] = half(v.lo.x);
  halves[at + 1u] = half(v.lo.y);
  halves[at + 2u] = half(v.lo.z);
  halves[at + 3u] = half(v.lo.w);
  halves[at + 4u] = half(v.hi.x);
  halves[at + 5u] = half(v.hi.y);
  halves[at + 6u] = half(v.hi.z);
  halves[at + 7u] = half(v.hi.w);
}

fn zeros() -> Eight {
  return Eight(vec4<f32>(0.0), vec4<f32>(0.0));
}

// 64 dimensions from `d0` on of all rows, scaled, to `halves`.
fn stage_queries(thread: u32, first_row: u32, rows: u32, per_kv: u32, kv_head: u32, d0: u32) {
  for (var i = thread; i < kRows * 64u; i += 256u) {
    let row = i / 64u;
    let d = d0 + i % 64u;
    let flat = min(first_row + row, rows - 1u);
    let source = params.q_offset + flat / per_kv * params.q_token +
               (kv_head * per_kv + flat % per_kv) * params.q_head;
    var value = 0.0;
    if (d < params.dim) {
      value = params.scale * q[source + d];
    }
    halves[row * kQueryPitch + i % 64u] = half(value);
  }
}

// 16 x 16 halves of a tile.
fn left_at(at: u32, pitch: u32) -> Left {
  return subgroupMatrixLoad<Left>(&halves, at, false, pitch);
}

// The scores of 16 keys grow by 16 dimensions, which begin at `at`.
fn scored(queries: Left, at: u32, sums: Result) -> Result {
  return subgroupMatrixMultiplyAccumulate(
    queries, subgroupMatrixLoad<Right>(&halves, at, true, kPitch), sums);
}

// 16 dimensions from d on of the results grow by 32 values.
fn weighed(first: Left, second: Left, d: u32, sums: Result) -> Result {
  let at = kValues + d;
  let half_way = subgroupMatrixMultiplyAccumulate(
    first, subgroupMatrixLoad<Right>(&halves, at, false, kPitch), sums);
  return subgroupMatrixMultiplyAccumulate(
    second, subgroupMatrixLoad<Right>(&halves, at + 16u * kPitch, false, kPitch), half_way);
}

fn fade_row(source: u32, by: f32) {
  for (var i = 0u; i < 16u; i++) {
    scores[source + i] *= by;
  }
}

// Sixteen results of a row from `scores` to y.
fn store_row(to: u32, d: u32, source: u32, factor: f32, live: bool) {
  for (var i = 0u; i < 16u; i++) {
    if (live && d + i < params.dim) {
      y[to + d + i] = factor * scores[source + i];
    }
  }
}
