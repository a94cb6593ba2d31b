// cumsum: y[r, i] = x[r, 0] + ... + x[r, i], one workgroup of 256 a row, 1024 elements at a time.
// x: F32, F16 or BF16 of any strides, as words; y: f32 of any strides. Shared: 1 KiB.
//:include common
//:include ordered

struct Params {
  sizes: Six,
  x_strides: Six,
  y_strides: Six,
  rank: u32,
  rows: u32,
  cols: u32,
  x_offset: u32,
  x_stride: u32,
  x_kind: u32,
  y_offset: u32,
  y_stride: u32,
}

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

var<workgroup> sums: array<f32, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>,
        @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let number = workgroup_index(group, groups);
  let row = min(number, params.rows - 1u);
  let base = params.x_offset + strided(row, params.sizes, params.x_strides, params.rank);
  let to = params.y_offset + strided(row, params.sizes, params.y_strides, params.rank);
  var carry = 0.0;
  for (var begin = 0u; begin < params.cols; begin += 1024u) {
    // Each thread sums four neighbours, the workgroup scans the sums of all threads.
    var mine: array<f32, 4>;
    var sum = 0.0;
    for (var j = 0u; j < 4u; j++) {
      let i = begin + 4u * thread + j;
      if (i < params.cols) {
        let at = base + i * params.x_stride;
        let word = x[word_index(params.x_kind, at)];
        sum += bitcast<f32>(f32_bits(params.x_kind, word, at));
      }
      mine[j] = sum;
    }
    sums[thread] = sum;
    workgroupBarrier();
    for (var step = 1u; step < 256u; step *= 2u) {
      var before = 0.0;
      if (thread >= step) {
        before = sums[thread - step];
      }
      workgroupBarrier();
      sums[thread] += before;
      workgroupBarrier();
    }
    let start = carry + select(0.0, sums[max(thread, 1u) - 1u], thread > 0u);
    for (var j = 0u; j < 4u; j++) {
      let i = begin + 4u * thread + j;
      if (i < params.cols && number < params.rows) {
        y[to + i * params.y_stride] = start + mine[j];
      }
    }
    carry += sums[255];
    workgroupBarrier();
  }
}
