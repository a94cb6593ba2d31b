// scatter_add: y[.., index[.., i, ..], ..] += x[.., i, ..] along an axis, f32. One thread a lane (all
// positions but the axis), which walks i upwards: no atomics, one order of additions. Indices outside
// of y are skipped.
//:include common

struct Params {
  sizes: Six,          // of x without the axis
  x_strides: Six,
  index_strides: Six,
  y_strides: Six,
  rank: u32,
  lanes: u32,
  length: u32,         // of the axis in x
  limit: u32,          // in y
  x_offset: u32,
  x_stride: u32,       // along the axis
  index_offset: u32,
  index_stride: u32,
  y_offset: u32,
  y_stride: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> index: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>,
        @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let lane = workgroup_index(group, groups) * 64u + thread;
  if (lane >= params.lanes) {
    return;
  }
  let base = params.x_offset + strided(lane, params.sizes, params.x_strides, params.rank);
  let at = params.index_offset + strided(lane, params.sizes, params.index_strides, params.rank);
  let to = params.y_offset + strided(lane, params.sizes, params.y_strides, params.rank);
  for (var i = 0u; i < params.length; i++) {
    let place = index[at + i * params.index_stride];
    if (place < params.limit) {
      y[to + place * params.y_stride] += x[base + i * params.x_stride];
    }
  }
}
