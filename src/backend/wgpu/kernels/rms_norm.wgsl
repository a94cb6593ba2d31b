// rms_norm: y[r, :] = x[r, :] / sqrt(mean(x[r, :]^2) + eps) * weight, one workgroup of 256 a row.
// x, y: f32 [rows, cols], last dimension contiguous; weight: any float type.
// Shared: 1 KiB. Sums in F32. Rows past 65,535 use the y grid.
//:include common
//:include reals

struct Params {
  rows: u32,
  cols: u32,
  x_offset: u32,
  x_stride: u32,
  y_offset: u32,
  y_stride: u32,
  weight_offset: u32,
  weight_kind: u32,
  eps: f32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> weight: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

var<workgroup> partial: array<f32, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>,
        @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let number = workgroup_index(group, groups);
  let row = min(number, params.rows - 1u);
  let source = params.x_offset + row * params.x_stride;
  var sum = 0.0;
  for (var i = thread; i < params.cols; i += 256u) {
    sum += x[source + i] * x[source + i];
  }
  partial[thread] = sum;
  for (var step = 128u; step > 0u; step /= 2u) {
    workgroupBarrier();
    if (thread < step) {
      partial[thread] += partial[thread + step];
    }
  }
  workgroupBarrier();
  let scale = 1.0 / sqrt(partial[0] / f32(params.cols) + params.eps);
  if (number < params.rows) {
    for (var i = thread; i < params.cols; i += 256u) {
      let w = params.weight_offset + i;
      y[params.y_offset + row * params.y_stride + i] =
        x[source + i] * scale * real_of(params.weight_kind, weight[word_of(params.weight_kind, w)], w);
    }
  }
}
