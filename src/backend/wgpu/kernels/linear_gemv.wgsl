// linear_gemv: y[t, o] = sum_k x[t, k] w[o, k] + bias[o] + residual[t, o] for few rows t.
// x: f32 rows, last dimension contiguous; w: rows [row_begin, row_begin + row_count) of the weight in
// one segment; bias of any float type. {{ROWS}} rows of x share every weight that is loaded.
// One weight row a subgroup, without subgroups 32 threads a row. Workgroup 256.
// Shared: 1 KiB x ROWS without subgroups. Sums in F32. Grid: linear over blocks of weight rows and
// blocks of x rows.
//:include common
//:include weight
//:include linear_io

const kRows = {{ROWS}}u;

//:if SUBGROUPS
//:else
const kLanes = 32u;
var<workgroup> partial: array<f32, {{ROWS}} * 256>;
//:end

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>,
        @builtin(num_workgroups) groups: vec3<u32>,
//:if SUBGROUPS
        @builtin(subgroup_id) warp: u32,
        @builtin(subgroup_size) lanes: u32,
        @builtin(subgroup_invocation_id) lane: u32) {
//:else
        @builtin(local_invocation_index) thread: u32) {
  let warp = thread / kLanes;
  let lane = thread % kLanes;
  let lanes = kLanes;
//:end
  let rows_a_group = 256u / lanes;
  let blocks = (params.row_count + rows_a_group - 1u) / rows_a_group;
  let index = workgroup_index(group, groups);
  let row = (index % blocks) * rows_a_group + warp;
  let t0 = (index / blocks) * kRows;
  // Rows past the end repeat the last one: barriers and subgroup sums need every thread.
  let start = params.w_start + min(row, params.row_count - 1u) * params.w_stride;
  var sums: array<f32, {{ROWS}}>;
  for (var j = 0u; j < kRows; j++) {
    sums[j] = 0.0;
  }
  for (var k = lane * 8u; k < params.cols; k += lanes * 8u) {
    let w = weight8(0u, start, k, params.cols);
    for (var j = 0u; j < kRows; j++) {
      sums[j] += dot8(w, x8(min(t0 + j, params.rows - 1u), k));
    }
  }
//:if SUBGROUPS
  for (var j = 0u; j < kRows; j++) {
    sums[j] = subgroupAdd(sums[j]);
  }
//:else
  for (var j = 0u; j < kRows; j++) {
    partial[j * 256u + thread] = sums[j];
  }
  for (var step = kLanes / 2u; step > 0u; step /= 2u) {
    workgroupBarrier();
    if (lane < step) {
      for (var j = 0u; j < kRows; j++) {
        partial[j * 256u + thread] += partial[j * 256u + thread + step];
      }
    }
  }
  for (var j = 0u; j < kRows; j++) {
    sums[j] = partial[j * 256u + thread];
  }
//:end
  if (lane == 0u && row < params.row_count) {
    for (var j = 0u; j < kRows; j++) {
      if (t0 + j < params.rows) {
        store(t0 + j, row, sums[j]);
      }
    }
  }
}
