// softmax: y[r, :] = exp(x[r, :] - max) / sum, one workgroup of 256 a row of any length.
// x, y: f32 [rows, cols], last dimension contiguous. -inf is recognised by its bits and gives 0; a row
// of nothing else gives zeros. x is bound as u32, since WGSL promises nothing about infinities.
// Shared: 1 KiB. Exact to a few ulp of exp; its arguments are at most 0. Rows past 65,535 use the y
// grid.
//:include common

struct Params {
  rows: u32,
  cols: u32,
  x_offset: u32,
  x_stride: u32,
  y_offset: u32,
  y_stride: u32,
}

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

var<workgroup> partial: array<f32, 256>;

fn is_masked(bits: u32) -> bool {
  return bits == 0xff800000u;
}

// exp(value - largest), 0 for masked elements. Half the difference of two finite values is finite.
fn share(bits: u32, largest: f32) -> f32 {
  let value = bitcast<f32>(select(bits, 0u, is_masked(bits)));
  let half_difference = max(value * 0.5 - largest * 0.5, -50.0);
  return select(exp(2.0 * half_difference), 0.0, is_masked(bits) || half_difference <= -50.0);
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>,
        @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let number = workgroup_index(group, groups);
  let row = min(number, params.rows - 1u);
  let source = params.x_offset + row * params.x_stride;
  var largest = -3.4e38;
  for (var i = thread; i < params.cols; i += 256u) {
    let bits = x[source + i];
    if (!is_masked(bits)) {
      largest = max(largest, bitcast<f32>(bits));
    }
  }
  partial[thread] = largest;
  for (var step = 128u; step > 0u; step /= 2u) {
    workgroupBarrier();
    if (thread < step) {
      partial[thread] = max(partial[thread], partial[thread + step]);
    }
  }
  workgroupBarrier();
  largest = partial[0];
  workgroupBarrier();
  var sum = 0.0;
  for (var i = thread; i < params.cols; i += 256u) {
    sum += share(x[source + i], largest);
  }
  partial[thread] = sum;
  for (var step = 128u; step > 0u; step /= 2u) {
    workgroupBarrier();
    if (thread < step) {
      partial[thread] += partial[thread + step];
    }
  }
  workgroupBarrier();
  sum = partial[0];
  if (number < params.rows) {
    for (var i = thread; i < params.cols; i += 256u) {
      y[params.y_offset + row * params.y_stride + i] =
        select(0.0, share(x[source + i], largest) / max(sum, 1.0e-30), sum > 0.0);
    }
  }
}
