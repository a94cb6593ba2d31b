// conv_transpose1d: y[b, o, t] = bias[o] + sum over the group's input channels c and the times s with
// s stride + k = t + trim_left, 0 <= k < taps, of x[b, c, s] weight[c, o, k]. One thread an element of
// y, workgroup 256. x, y: f32 of any strides; weight [in, out / groups, taps]: kind {{W_KIND}} of
// reals_any; BIAS: any float kind.
//:include common
//:include reals_any

struct Params {
  count: u32,
  outs: u32,
  out_time: u32,
  channels: u32,     // of one group
  group_outs: u32,
  time: u32,
  taps: u32,
  stride: u32,
  trim_left: u32,
  x_offset: u32,
  x_batch: u32,      // strides in elements
  x_channel: u32,
  x_time: u32,
  w_offset: u32,
  w_channel: u32,
  w_out: u32,
  w_tap: u32,
  y_offset: u32,
  y_batch: u32,
  y_channel: u32,
  y_time: u32,
  bias_offset: u32,
  bias_stride: u32,
  bias_kind: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> weight: array<u32>;
//:if BIAS
@group(0) @binding(2) var<storage, read> bias: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;
//:else
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;
//:end

fn weight_at(at: u32) -> f32 {
  let kind = {{W_KIND}}u;
  return real_from_bits(kind, bits_in_word(kind, weight[word_index(kind, at)], at));
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>,
        @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let item = workgroup_index(group, groups) * 256u + thread;
  if (item >= params.count) {
    return;
  }
  let t = item % params.out_time;
  let plane = item / params.out_time;
  let o = plane % params.outs;
  let b = plane / params.outs;
  let first = o / params.group_outs * params.channels;
  let u = t + params.trim_left;
  // The latest input that reaches u is u / stride, by tap u % stride; earlier ones by later taps.
  let latest = u / params.stride;
  let tap = u - latest * params.stride;
  var sum = 0.0;
  for (var c = first; c < first + params.channels; c++) {
    let base = params.x_offset + b * params.x_batch + c * params.x_channel;
    let taps = params.w_offset + c * params.w_channel + o % params.group_outs * params.w_out;
    var k = tap;
    for (var back = 0u; back <= latest && k < params.taps; back++) {
      let s = latest - back;
      if (s < params.time) {
        sum += x[base + s * params.x_time] * weight_at(taps + k * params.w_tap);
      }
      k += params.stride;
    }
  }
//:if BIAS
  let at = params.bias_offset + o * params.bias_stride;
  let word = bias[word_index(params.bias_kind, at)];
  sum += real_from_bits(params.bias_kind, bits_in_word(params.bias_kind, word, at));
//:end
  y[params.y_offset + b * params.y_batch + o * params.y_channel + t * params.y_time] = sum;
}
