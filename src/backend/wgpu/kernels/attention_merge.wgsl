// attention_merge: joins the splits of attention_decode.
// part: f32 per (token, head, split): dim unnormalised sums, then maximum and denominator; a split
// without keys has denominator 0. y: f32 [tokens, heads, dim].
// One workgroup of 64 a (token, head). Exact in F32; exp arguments are at most 0.
//:include common

struct Params {
  tokens: u32,
  heads: u32,
  dim: u32,
  splits: u32,
  part_offset: u32,
  y_offset: u32,
  y_token: u32,
  y_head: u32,
}

@group(0) @binding(0) var<storage, read> part: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>,
        @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let index = workgroup_index(group, groups);
  if (index < params.tokens * params.heads) {
    let pitch = params.dim + 2u;
    let row = params.part_offset + index * params.splits * pitch;
    var highest = -3.0e38;
    for (var s = 0u; s < params.splits; s++) {
      let at = row + s * pitch + params.dim;
      if (part[at + 1u] > 0.0) {
        highest = max(highest, part[at]);
      }
    }
    var total = 0.0;
    for (var s = 0u; s < params.splits; s++) {
      let at = row + s * pitch + params.dim;
      if (part[at + 1u] > 0.0) {
        total += part[at + 1u] * exp(max(part[at] - highest, -80.0));
      }
    }
    let to = params.y_offset + index / params.heads * params.y_token +
             index % params.heads * params.y_head;
    for (var d = thread; d < params.dim; d += 64u) {
      var sum = 0.0;
      for (var s = 0u; s < params.splits; s++) {
        let at = row + s * pitch;
        if (part[at + params.dim + 1u] > 0.0) {
          sum += part[at + d] * exp(max(part[at + params.dim] - highest, -80.0));
        }
      }
      y[to + d] = select(0.0, sum / max(total, 1.0e-30), total > 0.0);
    }
  }
}
