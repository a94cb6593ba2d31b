// matrix_terms: rows of x as F16 for matrix cores: y[term, r, :] with x[r, :] = 2^e[r] * sum of terms.
// One term has 11 bits of x, two have 22. WITH_NORM: x[r, :] / sqrt(mean(x[r, :]^2) + eps) * norm counts
// as x. x: f32 rows, last dimension contiguous; norm: any float type; y: F16 pairs, rows of `pitch`
// elements, zeros past `cols`; see matrix_scale for the exponents.
// One workgroup of 256 a row. Shared: 2 KiB. Sums in F32.
//:include common
//:include reals

struct Params {
  rows: u32,
  cols: u32,
  x_offset: u32,
  x_stride: u32,
  pitch: u32,        // even
  padded_rows: u32,  // between the terms
  norm_offset: u32,
  norm_kind: u32,
  eps: f32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<u32>;
@group(0) @binding(2) var<storage, read_write> exponents: array<i32>;
//:if WITH_NORM
@group(0) @binding(3) var<storage, read> norm: array<u32>;
@group(0) @binding(4) var<uniform> params: Params;
//:else
@group(0) @binding(3) var<uniform> params: Params;
//:end

var<workgroup> largest: array<u32, 256>;  // magnitudes by their bits, so that NaN counts
var<workgroup> squares: array<f32, 256>;

// x[r, k] times its norm weight; zero past the end of the row, which begins at `start`.
fn weighed(start: u32, k: u32) -> f32 {
  if (k >= params.cols) {
    return 0.0;
  }
//:if WITH_NORM
  let w = params.norm_offset + k;
  return x[start + k] * real_of(params.norm_kind, norm[word_of(params.norm_kind, w)], w);
//:else
  return x[start + k];
//:end
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>,
        @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let number = workgroup_index(group, groups);
  let row = min(number, params.rows - 1u);
  let start = params.x_offset + row * params.x_stride;
  var most = 0u;
  var square = 0.0;
  for (var k = thread; k < params.cols; k += 256u) {
    most = max(most, bitcast<u32>(weighed(start, k)) & 0x7fffffffu);
    square += x[start + k] * x[start + k];
  }
  largest[thread] = most;
  squares[thread] = square;
  for (var step = 128u; step > 0u; step /= 2u) {
    workgroupBarrier();
    if (thread < step) {
      largest[thread] = max(largest[thread], largest[thread + step]);
      squares[thread] += squares[thread + step];
    }
  }
  workgroupBarrier();
//:if WITH_NORM
  let factor = 1.0 / sqrt(squares[0] / f32(params.cols) + params.eps);
//:else
  let factor = 1.0;
//:end
  let e = max(i32(bitcast<u32>(bitcast<f32>(largest[0]) * factor) >> 23u) - 141, -126);
  let scale = bitcast<f32>(u32(127 - e) << 23u);
  if (number >= params.rows) {
    return;
  }
  if (thread == 0u) {
    exponents[row] = e;
  }
  for (var i = thread; i < params.pitch / 2u; i += 256u) {
    let pair = vec2<f32>(weighed(start, 2u * i), weighed(start, 2u * i + 1u)) * factor * scale;
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
