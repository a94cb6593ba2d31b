// conv: y[b, o, h, w] = bias[o] + sum over the group's channels c and taps (i, j) of
//   x[b, c, h stride_h - pad_h + i dilation_h, w stride_w - pad_w + j dilation_w] weight[o, c, i, j],
// zero outside of x; one dimension is a grid of height 1. One thread an element of y, workgroup 256.
// x, y: f32 of any strides; weight: kind {{W_KIND}} of reals_any; BIAS: any float kind.
//:include common
//:include reals_any

struct Params {
  count: u32,
  outs: u32,
  out_height: u32,
  out_width: u32,
  channels: u32,     // of one group
  group_outs: u32,
  height: u32,
  width: u32,
  taps_h: u32,
  taps_w: u32,
  stride_h: u32,
  stride_w: u32,
  pad_h: u32,
  pad_w: u32,
  dilation_h: u32,
  dilation_w: u32,
  x_offset: u32,
  x_batch: u32,      // strides in elements
  x_channel: u32,
  x_row: u32,
  x_column: u32,
  w_offset: u32,
  w_out: u32,
  w_channel: u32,
  w_row: u32,
  w_column: u32,
  y_offset: u32,
  y_batch: u32,
  y_channel: u32,
  y_row: u32,
  y_column: u32,
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

// Taps of channel c that fall into x; (top, left) counts from before the padding.
fn channel_sum(base: u32, taps: u32, top: u32, left: u32) -> f32 {
  var sum = 0.0;
  for (var i = 0u; i < params.taps_h; i++) {
    let row = top + i * params.dilation_h;
    if (row < params.pad_h || row - params.pad_h >= params.height) {
      continue;
    }
    let line = base + (row - params.pad_h) * params.x_row;
    for (var j = 0u; j < params.taps_w; j++) {
      let column = left + j * params.dilation_w;
      if (column >= params.pad_w && column - params.pad_w < params.width) {
        sum += x[line + (column - params.pad_w) * params.x_column] *
               weight_at(taps + i * params.w_row + j * params.w_column);
      }
    }
  }
  return sum;
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>,
        @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let item = workgroup_index(group, groups) * 256u + thread;
  if (item >= params.count) {
    return;
  }
  let column = item % params.out_width;
  let line = item / params.out_width;
  let row = line % params.out_height;
  let plane = line / params.out_height;
  let o = plane % params.outs;
  let b = plane / params.outs;
  let first = o / params.group_outs * params.channels;
  let base = params.x_offset + b * params.x_batch + first * params.x_channel;
  let taps = params.w_offset + o * params.w_out;
  var sum = 0.0;
  for (var c = 0u; c < params.channels; c++) {
    sum += channel_sum(base + c * params.x_channel, taps + c * params.w_channel,
                       row * params.stride_h, column * params.stride_w);
  }
//:if BIAS
  let at = params.bias_offset + o * params.bias_stride;
  let word = bias[word_index(params.bias_kind, at)];
  sum += real_from_bits(params.bias_kind, bits_in_word(params.bias_kind, word, at));
//:end
  y[params.y_offset + b * params.y_batch + o * params.y_channel + row * params.y_row +
    column * params.y_column] = sum;
}
