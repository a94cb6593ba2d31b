// matrix_terms: rows of x as F16 for matrix cores: y[term, r, :] with x[r, :] = 2^e[r] * sum of terms.
// One term has 11 bits of x, two have 22. x: f32 rows, last dimension contiguous; y: F16 pairs, rows
// of `pitch` elements, zeros past `cols`; see matrix_tile for the exponents.
// One workgroup of 256 a row. Shared: 1 KiB.
//:include common

struct Params {
  rows: u32,
  cols: u32,
  x_offset: u32,
  x_stride: u32,
  pitch: u32,        // even
  padded_rows: u32,  // between the terms
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<u32>;
@group(0) @binding(2) var<storage, read_write> exponents: array<i32>;
@group(0) @binding(3) var<uniform> params: Params;

var<workgroup> partial: array<u32, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>,
        @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let number = workgroup_index(group, groups);
  let row = min(number, params.rows - 1u);
  let start = params.x_offset + row * params.x_stride;
  var largest = 0u;
  for (var k = thread; k < params.cols; k += 256u) {
    largest = max(largest, bitcast<u32>(x[start + k]) & 0x7fffffffu);
  }
  partial[thread] = largest;
  for (var step = 128u; step > 0u; step /= 2u) {
    workgroupBarrier();
    if (thread < step) {
      partial[thread] = max(partial[thread], partial[thread + step]);
    }
  }
  workgroupBarrier();
  let e = max(i32(partial[0] >> 23u) - 141, -126);
  let scale = bitcast<f32>(u32(127 - e) << 23u);
  if (number >= params.rows) {
    return;
  }
  if (thread == 0u) {
    exponents[row] = e;
  }
  for (var i = thread; i < params.pitch / 2u; i += 256u) {
    let k = i * 2u;
    var pair = vec2<f32>(0.0);
    if (k < params.cols) {
      pair.x = x[start + k] * scale;
    }
    if (k + 1u < params.cols) {
      pair.y = x[start + k + 1u] * scale;
    }
//:if TWO_TERMS
    // Rounded to 11 bits as integers: compilers take unpacking what was packed for the identity.
    let high = bitcast<vec2<f32>>((bitcast<vec2<u32>>(pair) + vec2<u32>(0x1000u)) & vec2<u32>(0xffffe000u));
    y[row * (params.pitch / 2u) + i] = pack2x16float(high);
    y[(params.padded_rows + row) * (params.pitch / 2u) + i] = pack2x16float(pair - high);
//:else
    y[row * (params.pitch / 2u) + i] = pack2x16float(pair);
//:end
  }
}
