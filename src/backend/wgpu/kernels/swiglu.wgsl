// swiglu: y[r, c] = silu(gate[r, c]) * up[r, c], one thread a result, workgroup 256, linear grid.
// gate, up, y: f32 [rows, cols] with any row stride, last dimension contiguous.
//:include common
//:include silu

struct Params {
  rows: u32,
  cols: u32,
  gate_offset: u32,
  gate_stride: u32,
  up_offset: u32,
  up_stride: u32,
  y_offset: u32,
  y_stride: u32,
}

@group(0) @binding(0) var<storage, read> gate: array<f32>;
@group(0) @binding(1) var<storage, read> up: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>,
        @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let index = workgroup_index(group, groups) * 256u + thread;
  if (index < params.rows * params.cols) {
    let r = index / params.cols;
    let c = index % params.cols;
    let g = gate[params.gate_offset + r * params.gate_stride + c];
    let u = up[params.up_offset + r * params.up_stride + c];
    y[params.y_offset + r * params.y_stride + c] = silu(g) * u;
  }
}
