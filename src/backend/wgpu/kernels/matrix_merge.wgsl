// matrix_merge: y[t, o] = sum_s part[s, t, o] + bias[o] + residual[t, o] after linear_matrix with SPLIT.
// part: f32, gapless; y, residual: f32 rows; bias of any float type. One thread a result.
//:include common
//:include reals

struct Params {
  rows: u32,
  cols: u32,         // of y
  splits: u32,
  y_offset: u32,
  y_stride: u32,
  bias_offset: u32,
  bias_kind: u32,
  residual_offset: u32,
  residual_stride: u32,
}

@group(0) @binding(0) var<storage, read> part: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
//:if HAS_BIAS
@group(0) @binding({{BIAS}}) var<storage, read> bias: array<u32>;
//:end
//:if HAS_RESIDUAL
@group(0) @binding({{RESIDUAL}}) var<storage, read> residual: array<f32>;
//:end
@group(0) @binding({{PARAMS}}) var<uniform> params: Params;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>,
        @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let index = workgroup_index(group, groups) * 256u + thread;
  let count = params.rows * params.cols;
  if (index >= count) {
    return;
  }
  let t = index / params.cols;
  let o = index % params.cols;
  var value = 0.0;
  for (var s = 0u; s < params.splits; s++) {
    value += part[s * count + index];
  }
//:if HAS_BIAS
  let b = params.bias_offset + o;
  value += real_of(params.bias_kind, bias[word_of(params.bias_kind, b)], b);
//:end
//:if HAS_RESIDUAL
  value += residual[params.residual_offset + t * params.residual_stride + o];
//:end
  y[params.y_offset + t * params.y_stride + o] = value;
}
