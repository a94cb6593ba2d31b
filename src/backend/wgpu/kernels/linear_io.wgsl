// linear_io: bindings and params of linear_gemv and linear_tile; needs weight.wgsl before it.
// X_VEC4: start and row stride of x are multiples of 4 and cols of 8. Which of bias, residual and
// norm there are decides the numbers of their bindings and of params.
//:include reals

struct Params {
  rows: u32,         // of x
  cols: u32,
  row_begin: u32,    // first weight row of this dispatch
  row_count: u32,
  x_offset: u32,
  x_stride: u32,
  w_start: u32,      // where row row_begin starts, in elements or blocks
  w_stride: u32,
  y_offset: u32,
  y_stride: u32,
  bias_offset: u32,
  bias_kind: u32,
  residual_offset: u32,
  residual_stride: u32,
  norm_offset: u32,
  norm_eps: f32,
}

//:if X_VEC4
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
//:else
@group(0) @binding(0) var<storage, read> x: array<f32>;
//:end
//:if W_VEC4
@group(0) @binding(1) var<storage, read> w: array<vec4<u32>>;
//:else
@group(0) @binding(1) var<storage, read> w: array<u32>;
//:end
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
//:if HAS_BIAS
@group(0) @binding(3) var<storage, read> bias: array<u32>;
//:end
//:if HAS_RESIDUAL
@group(0) @binding({{RESIDUAL}}) var<storage, read> residual: array<f32>;
//:end
//:if HAS_NORM
//:if NORM_BF16
@group(0) @binding({{NORM}}) var<storage, read> norm: array<vec4<u32>>;
//:else
@group(0) @binding({{NORM}}) var<storage, read> norm: array<vec4<f32>>;
//:end
//:end
@group(0) @binding({{PARAMS}}) var<uniform> params: Params;

//:if W_VEC4
fn w_quad(which: u32, i: u32) -> vec4<u32> {
  return w[i];
}
//:else
fn w_word(which: u32, i: u32) -> u32 {
  return w[i];
}
//:end

// x[t, k .. k + 8], zeros past the end of the row.
fn x8(t: u32, k: u32) -> Eight {
  let start = params.x_offset + t * params.x_stride + k;
//:if X_VEC4
  return Eight(x[start >> 2u], x[(start >> 2u) + 1u]);
//:else
  var lo = vec4<f32>(0.0);
  var hi = vec4<f32>(0.0);
  let n = params.cols - k;
  lo.x = x[start];
  if (n > 1u) { lo.y = x[start + 1u]; }
  if (n > 2u) { lo.z = x[start + 2u]; }
  if (n > 3u) { lo.w = x[start + 3u]; }
  if (n > 4u) { hi.x = x[start + 4u]; }
  if (n > 5u) { hi.y = x[start + 5u]; }
  if (n > 6u) { hi.z = x[start + 6u]; }
  if (n > 7u) { hi.w = x[start + 7u]; }
  return Eight(lo, hi);
//:end
}

// Writes y[t, row_begin + row] with bias and residual added, in this order.
fn store(t: u32, row: u32, sum: f32) {
  let o = params.row_begin + row;
  var value = sum;
//:if HAS_BIAS
  let b = params.bias_offset + o;
  value += real_of(params.bias_kind, bias[word_of(params.bias_kind, b)], b);
//:end
//:if HAS_RESIDUAL
  value += residual[params.residual_offset + t * params.residual_stride + o];
//:end
  y[params.y_offset + t * params.y_stride + o] = value;
}
