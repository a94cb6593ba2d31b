// linear_gemv: y[t, o] = sum_k x[t, k] w[o, k] + bias[o] + residual[t, o] for few rows t.
// HAS_NORM (of BF16 under NORM_BF16, else F32): x[t, k] counts as x[t, k] / sqrt(mean_k x[t, k]^2 + eps) *
// norm[k]; the squares are summed in the same loop, so that no kernel has to run before this one.
// x: f32 rows, last dimension contiguous; w: rows [row_begin, row_begin + row_count) of the weight in
// one segment; bias of any float type. {{ROWS}} rows of x share every weight that is loaded.
// A weight row is read by {{TEAM}} threads, one subgroup or, under COMBINE, perhaps several: short
// matrices need the parallelism. Workgroup 256. Shared: 2 x ROWS x (subgroups: 256 B; else 1 KiB).
// Sums in F32. Grid: linear over blocks of weight rows and blocks of x rows.
// Sizes of large weights are numbers in this text ({{COLS}}, {{ROW_COUNT}}, {{W_START}}, {{W_STRIDE}}), so
// that the first weights are on their way before params arrive; of others, fields of params. A thread
// makes {{ROUND}} steps in a loop that compilers unroll; the columns are a multiple of all its threads'.
//:include common
//:include weight
//:include linear_io

const kRows = {{ROWS}}u;
const kTeam = {{TEAM}}u;
const kRound = {{ROUND}}u;
//:if HAS_NORM
const kSums = 2u * kRows;  // products, then squares
//:else
const kSums = kRows;
//:end

//:if SUBGROUPS
// One sum a subgroup, of which there are at most 64.
var<workgroup> partial: array<f32, kSums * 64u>;
//:else
var<workgroup> partial: array<f32, kSums * 256u>;
//:end

//:if HAS_NORM
//:include norm8
//:end

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
  let cols = {{COLS}};
  let row_count = {{ROW_COUNT}};
  let team = thread / kTeam;
  let member = thread % kTeam;
  const rows_a_group = 256u / kTeam;
  let blocks = (row_count + rows_a_group - 1u) / rows_a_group;
  let index = workgroup_index(group, groups);
  let row = (index % blocks) * rows_a_group + team;
  let t0 = (index / blocks) * kRows;
  // Rows past the end repeat the last one: barriers and subgroup sums need every thread.
  let start = {{W_START}} + min(row, row_count - 1u) * {{W_STRIDE}};
  var sums: array<f32, kSums>;
  for (var j = 0u; j < kSums; j++) {
    sums[j] = 0.0;
  }
  for (var first = member * 8u; first < cols; first += kRound * kTeam * 8u) {
    for (var i = 0u; i < kRound; i++) {
      let k = first + i * kTeam * 8u;
      var w = weight8(0u, start, k, cols);
//:if HAS_NORM
      let scale = norm8(params.norm_offset + k);
      w = Eight(w.lo * scale.lo, w.hi * scale.hi);
//:end
      for (var j = 0u; j < kRows; j++) {
        let v = x8(min(t0 + j, params.rows - 1u), k);
        sums[j] += dot8(w, v);
        if (kSums > kRows) {
          sums[kSums - kRows + j] += dot8(v, v);
        }
      }
    }
  }
//:if SUBGROUPS
  for (var j = 0u; j < kSums; j++) {
    sums[j] = subgroupAdd(sums[j]);
  }
//:if COMBINE
  for (var j = 0u; j < kSums; j++) {
    partial[j * 64u + warp] = sums[j];
  }
  workgroupBarrier();
  for (var j = 0u; j < kSums; j++) {
    var sum = 0.0;
    for (var i = team * kTeam / lanes; i < (team + 1u) * kTeam / lanes; i++) {
      sum += partial[j * 64u + i];
    }
    sums[j] = sum;
  }
//:end
//:else
  for (var j = 0u; j < kSums; j++) {
    partial[j * 256u + thread] = sums[j];
  }
  for (var step = kTeam / 2u; step > 0u; step /= 2u) {
    workgroupBarrier();
    if (member < step) {
      for (var j = 0u; j < kSums; j++) {
        partial[j * 256u + thread] += partial[j * 256u + thread + step];
      }
    }
  }
  for (var j = 0u; j < kSums; j++) {
    sums[j] = partial[j * 256u + thread];
  }
//:end
  if (member == 0u && row < row_count) {
    for (var j = 0u; j < kRows; j++) {
      if (t0 + j < params.rows) {
        var sum = sums[j];
        if (kSums > kRows) {
          sum /= sqrt(sums[kSums - kRows + j] / f32(cols) + params.norm_eps);
        }
        store(t0 + j, row, sum);
      }
    }
  }
}
