// penalise: repetition penalty and suppression of logits, in place, and the history they follow.
// logits f32, marks u32 [rows, cols]: bit 0 said before, bit 1 never to be drawn; newest u32 [rows]: a
// token that is marked as said first; penalties f32 [rows]: positive logits of what was said are divided
// by them, negative ones multiplied. One thread a logit. Workgroup 256. Grid: linear.
//:include common

struct Params {
  rows: u32,
  cols: u32,
  logits_offset: u32,
  newest_offset: u32,
  marks_offset: u32,
  penalties_offset: u32,
  suppressed: f32,
}

@group(0) @binding(0) var<storage, read_write> logits: array<f32>;
@group(0) @binding(1) var<storage, read> newest: array<u32>;
@group(0) @binding(2) var<storage, read_write> marks: array<u32>;
@group(0) @binding(3) var<storage, read> penalties: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>,
        @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let i = workgroup_index(group, groups) * 256u + thread;
  if (i >= params.rows * params.cols) {
    return;
  }
  let row = i / params.cols;
  var mark = marks[params.marks_offset + i];
  if (newest[params.newest_offset + row] == i % params.cols) {
    mark |= 1u;
    marks[params.marks_offset + i] = mark;
  }
  if (mark == 0u) {
    return;
  }
  let penalty = penalties[params.penalties_offset + row];
  let logit = logits[params.logits_offset + i];
  let penalised = select(logit, select(logit * penalty, logit / penalty, logit > 0.0),
                         (mark & 1u) != 0u);
  logits[params.logits_offset + i] = select(penalised, params.suppressed, (mark & 2u) != 0u);
}
