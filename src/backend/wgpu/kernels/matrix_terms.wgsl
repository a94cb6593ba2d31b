// matrix_terms: rows of x as F16 for matrix cores: y[term, r, :] with x[r, :] = 2^e[r] * sum of terms.
// One term has 11 bits of x, two have 22. WITH_NORM: x[r, :] / sqrt(mean(x[r, :]^2) + eps) * norm counts
// as x. x: f32 rows, last dimension contiguous, under X_VEC4 read by 16 bytes; norm: any float type; y: F16
// by fours, rows of `pitch` elements, zeros past `cols`; see matrix_scale for the exponents.
// Subgroups of 32, like all kernels of matrix cores. A row is a subgroup's, of which there are eight in a
// workgroup, or under WHOLE all of them work on one. Sums in F32. Grid: linear over blocks of rows.
//:include common
//:include reals

struct Params {
  rows: u32,
  cols: u32,
  x_offset: u32,
  x_stride: u32,
  pitch: u32,        // a multiple of 4
  padded_rows: u32,  // between the terms
  norm_offset: u32,
  norm_kind: u32,
  eps: f32,
}

//:if X_VEC4
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
//:else
@group(0) @binding(0) var<storage, read> x: array<f32>;
//:end
@group(0) @binding(1) var<storage, read_write> y: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read_write> exponents: array<i32>;
//:if WITH_NORM
@group(0) @binding(3) var<storage, read> norm: array<u32>;
@group(0) @binding(4) var<uniform> params: Params;
//:else
@group(0) @binding(3) var<uniform> params: Params;
//:end

//:if WHOLE
const kTeam = 256u;
var<workgroup> largest: array<u32, 8>;
var<workgroup> squares: array<f32, 8>;
//:else
const kTeam = 32u;
//:end

// x[k .. k + 4] of the row that begins at `start`; zeros past its end.
fn x4(start: u32, k: u32) -> vec4<f32> {
//:if X_VEC4
  return select(vec4<f32>(0.0), x[(start + min(k, params.cols - 4u)) >> 2u], k < params.cols);
//:else
  var v = vec4<f32>(0.0);
  for (var j = 0u; j < 4u; j++) {
    if (k + j < params.cols) {
      v[j] = x[start + k + j];
    }
  }
  return v;
//:end
}

// The same times its norm weights.
fn weighed(v: vec4<f32>, k: u32) -> vec4<f32> {
//:if WITH_NORM
  var by = vec4<f32>(0.0);
  for (var j = 0u; j < 4u; j++) {
    let w = params.norm_offset + min(k + j, params.cols - 1u);
    by[j] = real_of(params.norm_kind, norm[word_of(params.norm_kind, w)], w);
  }
  return v * by;
//:else
  return v;
//:end
}

// The largest magnitude by its bits, so that NaN counts.
fn most_of(v: vec4<f32>) -> u32 {
  let bits = bitcast<vec4<u32>>(v) & vec4<u32>(0x7fffffffu);
  return max(max(bits.x, bits.y), max(bits.z, bits.w));
}

fn packed(v: vec4<f32>) -> vec2<u32> {
  return vec2<u32>(pack2x16float(v.xy), pack2x16float(v.zw));
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>,
        @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(subgroup_id) warp: u32,
        @builtin(subgroup_invocation_id) lane: u32) {
  let thread = warp * 32u + lane;
  let number = workgroup_index(group, groups) * (256u / kTeam) + thread / kTeam;
  let member = thread % kTeam;
  let row = min(number, params.rows - 1u);
  let start = params.x_offset + row * params.x_stride;
  var most = 0u;
  var square = 0.0;
  for (var k = member * 4u; k < params.cols; k += kTeam * 4u) {
    let v = x4(start, k);
    most = max(most, most_of(weighed(v, k)));
    square += dot(v, v);
  }
  most = subgroupMax(most);
  square = subgroupAdd(square);
//:if WHOLE
  largest[warp] = most;
  squares[warp] = square;
  workgroupBarrier();
  square = 0.0;
  for (var i = 0u; i < 8u; i++) {
    most = max(most, largest[i]);
    square += squares[i];
  }
//:end
//:if WITH_NORM
  let factor = 1.0 / sqrt(square / f32(params.cols) + params.eps);
//:else
  let factor = 1.0;
//:end
  let e = max(i32(bitcast<u32>(bitcast<f32>(most) * factor) >> 23u) - 141, -126);
  let scale = bitcast<f32>(u32(127 - e) << 23u);
  if (number >= params.rows) {
    return;
  }
  if (member == 0u) {
    exponents[row] = e;
  }
  for (var k = member * 4u; k < params.pitch; k += kTeam * 4u) {
    let v = weighed(x4(start, k), k) * factor * scale;
    let at = (row * params.pitch + k) >> 2u;
//:if TWO_TERMS
    // Rounded to 11 bits as integers: compilers take unpacking what was packed for the identity.
    let high = bitcast<vec4<f32>>((bitcast<vec4<u32>>(v) + vec4<u32>(0x1000u)) & vec4<u32>(0xffffe000u));
    y[at] = packed(high);
    y[at + ((params.padded_rows * params.pitch) >> 2u)] = packed(v - high);
//:else
    y[at] = packed(v);
//:end
  }
}
