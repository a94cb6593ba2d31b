// sample: draws one of a row's candidates. settings: f32 [rows, 5] = temperature (0: the first), top_k,
// top_p, min_p, a number in [0, 1); applied in this order.
// values f32 and indices u32 [rows, k], sorted, largest first, k <= 64; ids u32 [rows], 2^32 - 1 for a
// row whose first value is a NaN. One workgroup of 64 a row. Shared: 256 B. F32; exp arguments are at
// most 0.
//:include common

struct Params {
  rows: u32,
  k: u32,
  values_offset: u32,
  indices_offset: u32,
  settings_offset: u32,
  ids_offset: u32,
  ids_stride: u32,
}

@group(0) @binding(0) var<storage, read> values: array<f32>;
@group(0) @binding(1) var<storage, read> indices: array<u32>;
@group(0) @binding(2) var<storage, read> settings: array<f32>;
@group(0) @binding(3) var<storage, read_write> ids: array<u32>;
@group(0) @binding(4) var<uniform> params: Params;

var<workgroup> shares: array<f32, 64>;

// Index of the candidate that the settings at `base` draw among the first `count`.
fn draw(base: u32, count: u32) -> u32 {
  var sum = 0.0;
  for (var i = 0u; i < count; i++) {
    sum += shares[i];
  }
  let wanted = settings[base + 2u] * sum;
  var kept = 0u;
  var reached = 0.0;
  while (kept < count && (kept == 0u || reached < wanted)) {
    reached += shares[kept];
    kept += 1u;
  }
  while (kept > 1u && shares[kept - 1u] < settings[base + 3u]) {
    kept -= 1u;
    reached -= shares[kept];
  }
  var left = settings[base + 4u] * reached;
  for (var i = 0u; i < kept; i++) {
    left -= shares[i];
    if (left < 0.0) {
      return i;
    }
  }
  return kept - 1u;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>,
        @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let number = workgroup_index(group, groups);
  let row = min(number, params.rows - 1u);
  let base = params.settings_offset + row * 5u;
  let temperature = settings[base];
  let first = params.values_offset + row * params.k;
  let value = values[first + min(thread, params.k - 1u)];
  shares[thread] = exp(max((value - values[first]) / max(temperature, 1.0e-6), -80.0));
  workgroupBarrier();
  if (thread == 0u && number < params.rows) {
    var choice = 0u;
    if (temperature > 0.0) {
      choice = draw(base, min(params.k, u32(max(settings[base + 1u], 1.0))));
    }
    let nan = (bitcast<u32>(values[first]) & 0x7fffffffu) > 0x7f800000u;
    ids[params.ids_offset + row * params.ids_stride] =
      select(indices[params.indices_offset + row * params.k + choice], 0xffffffffu, nan);
  }
}
