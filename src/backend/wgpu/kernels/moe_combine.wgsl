// moe_combine: y[t, h] = residual[t, h] + sum_j weights[t, j] * part[t * k + j, h], j ascending.
// part: f32 [tokens * k, hidden]; weights: f32 [tokens, k]. A thread makes one result or four ({{VALUE}}),
// by which hidden and the offsets of part, residual and y are counted. Workgroup 256. Grid: linear.
//:include common

struct Params {
  tokens: u32,
  k: u32,
  hidden: u32,
  part_offset: u32,
  weights_offset: u32,
  y_offset: u32,
  residual_offset: u32,
}

@group(0) @binding(0) var<storage, read> part: array<{{VALUE}}>;
@group(0) @binding(1) var<storage, read> weights: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<{{VALUE}}>;
//:if HAS_RESIDUAL
@group(0) @binding(3) var<storage, read> residual: array<{{VALUE}}>;
@group(0) @binding(4) var<uniform> params: Params;
//:else
@group(0) @binding(3) var<uniform> params: Params;
//:end

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>,
        @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let at = workgroup_index(group, groups) * 256u + thread;
  if (at < params.tokens * params.hidden) {
    let t = at / params.hidden;
    let h = at % params.hidden;
    var sum = {{VALUE}}();
    for (var j = 0u; j < params.k; j++) {
      let pair = t * params.k + j;
      sum += weights[params.weights_offset + pair] *
             part[params.part_offset + pair * params.hidden + h];
    }
//:if HAS_RESIDUAL
    sum += residual[params.residual_offset + at];
//:end
    y[params.y_offset + at] = sum;
  }
}
