// layer_norm: y[r, :] = (x[r, :] - mean) / sqrt(variance + eps) * weight + bias, one workgroup of 256 a
// row. x, y: f32 [rows, cols], last dimension contiguous; weight, bias: any float type.
// The variance is summed from the differences in a second pass: no cancellation for a large mean.
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
  bias_offset: u32,
  bias_kind: u32,
  eps: f32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> weight: array<u32>;
@group(0) @binding(2) var<storage, read> bias: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

var<workgroup> partial: array<f32, 256>;

fn total(thread: u32, value: f32) -> f32 {
  partial[thread] = value;
  for (var step = 128u; step > 0u; step /= 2u) {
    workgroupBarrier();
    if (thread < step) {
      partial[thread] += partial[thread + step];
    }
  }
  workgroupBarrier();
  let sum = partial[0];
  workgroupBarrier();
  return sum;
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>,
        @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let number = workgroup_index(group, groups);
  let row = min(number, params.rows - 1u);
  let source = params.x_offset + row * params.x_stride;
  var sum = 0.0;
  for (var i = thread; i < params.cols; i += 256u) {
    sum += x[source + i];
  }
  let mean = total(thread, sum) / f32(params.cols);
  sum = 0.0;
  for (var i = thread; i < params.cols; i += 256u) {
    let difference = x[source + i] - mean;
    sum += difference * difference;
  }
  let scale = 1.0 / sqrt(total(thread, sum) / f32(params.cols) + params.eps);
  if (number < params.rows) {
    for (var i = thread; i < params.cols; i += 256u) {
      let w = params.weight_offset + i;
      let b = params.bias_offset + i;
      y[params.y_offset + row * params.y_stride + i] =
        (x[source + i] - mean) * scale *
        real_of(params.weight_kind, weight[word_of(params.weight_kind, w)], w) +
        real_of(params.bias_kind, bias[word_of(params.bias_kind, b)], b);
    }
  }
}
