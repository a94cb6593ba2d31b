// reduce_rows: y[r, c] = sum, maximum or minimum of chunk c of row r, one workgroup of 256 a chunk, or
// with NARROW one thread a row. The host reduces the chunks of long rows once more.
// x: F32, F16 or BF16 of any strides, as words; y: f32 bits, [rows, chunks]. Rows are walked over up
// to five dimensions. SUM: errors stay below 40 roundings of the running sum (16 additions a thread,
// then a tree). Otherwise exact by integer keys (LEAST: minimum); NaN is skipped. Shared: 1 KiB.
//:include common
//:include ordered

struct Params {
  sizes: Six,
  x_strides: Six,
  y_strides: Six,
  rank: u32,
  rows: u32,
  cols: u32,
  chunk: u32,
  chunks: u32,
  x_offset: u32,
  x_stride: u32,
  x_kind: u32,
  y_offset: u32,
  y_stride: u32,
  divide: u32,
  divisor: f32,
}

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read_write> y: array<u32>;
@group(0) @binding(2) var<uniform> params: Params;

//:if SUM
alias Value = f32;
const kNothing = 0.0;

fn value_of(bits: u32) -> f32 {
  return bitcast<f32>(bits);
}

fn joined(a: f32, b: f32) -> f32 {
  return a + b;
}

fn result_bits(value: f32) -> u32 {
  return bitcast<u32>(select(value, value / max(params.divisor, 1.0), params.divide != 0u));
}
//:else
alias Value = u32;
// The key of -inf, and of +inf in reversed order.
const kNothing = 0x007fffffu;

fn value_of(bits: u32) -> u32 {
  let key = key_of(bits);
  if (key == kNanKey) {
    return kNothing;
  }
//:if LEAST
  return reversed_key(key);
//:else
  return key;
//:end
}

fn joined(a: u32, b: u32) -> u32 {
  return max(a, b);
}

fn result_bits(value: u32) -> u32 {
//:if LEAST
  return bits_of_key(~value);
//:else
  return bits_of_key(value);
//:end
}
//:end

fn load(at: u32) -> Value {
  return value_of(f32_bits(params.x_kind, x[word_index(params.x_kind, at)], at));
}

//:if NARROW
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>,
        @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let row = workgroup_index(group, groups) * 256u + thread;
  if (row < params.rows) {
    let base = params.x_offset + strided(row, params.sizes, params.x_strides, params.rank);
    var value = kNothing;
    for (var i = 0u; i < params.cols; i++) {
      value = joined(value, load(base + i * params.x_stride));
    }
    y[params.y_offset + strided(row, params.sizes, params.y_strides, params.rank)] =
      result_bits(value);
  }
}
//:else
var<workgroup> partial: array<Value, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>,
        @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let number = workgroup_index(group, groups);
  let row = min(number / params.chunks, params.rows - 1u);
  let c = number % params.chunks;
  let base = params.x_offset + strided(row, params.sizes, params.x_strides, params.rank);
  let end = min(params.cols, (c + 1u) * params.chunk);
  var value = kNothing;
  for (var i = c * params.chunk + thread; i < end; i += 256u) {
    value = joined(value, load(base + i * params.x_stride));
  }
  partial[thread] = value;
  for (var step = 128u; step > 0u; step /= 2u) {
    workgroupBarrier();
    if (thread < step) {
      partial[thread] = joined(partial[thread], partial[thread + step]);
    }
  }
  if (thread == 0u && number < params.rows * params.chunks) {
    y[params.y_offset + strided(row, params.sizes, params.y_strides, params.rank) +
      c * params.y_stride] = result_bits(partial[0]);
  }
}
//:end
