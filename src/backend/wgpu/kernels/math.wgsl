// math: functions that hold over a wide range of arguments. WGSL bounds sin and cos only within
// [-pi, pi] (drivers err by 2e-4), tanh overflows on some, and pow of a negative base is undefined.

/// Quadrant (x) and rest within [-pi/4, pi/4] (y). Absolute error 1e-7 for |x| < 1e4.
/// pi/2 in three parts of few bits (Cody and Waite), so that their products are exact.
fn reduce_angle(x: f32) -> vec2<f32> {
  let k = round(x * 0.63661977);
  let rest = ((x - k * 1.5703125) - k * 4.8375129699707031e-4) - k * 7.5497899548918821e-8;
  return vec2<f32>(k, rest);
}

/// sin of the rest plus `quadrant` quarter turns. Taylor polynomials: below 5e-8 within pi/4.
fn sin_quadrant(quadrant: i32, r: f32) -> f32 {
  let z = r * r;
  let s = r + r * z * (-1.6666667e-1 + z * (8.3333333e-3 + z * (-1.9841270e-4 + z * 2.7557319e-6)));
  let c = 1.0 + z * (-0.5 + z * (4.1666667e-2 + z * (-1.3888889e-3 + z * 2.4801587e-5)));
  let value = select(s, c, (quadrant & 1) == 1);
  return select(value, -value, (quadrant & 2) == 2);
}

fn sin_wide(x: f32) -> f32 {
  let reduced = reduce_angle(x);
  return sin_quadrant(i32(reduced.x), reduced.y);
}

fn cos_wide(x: f32) -> f32 {
  let reduced = reduce_angle(x);
  return sin_quadrant(i32(reduced.x) + 1, reduced.y);
}

/// Relative error 1e-6; near 0 by its series, where 1 - 2 / (e^2x + 1) would cancel.
fn tanh_safe(x: f32) -> f32 {
  let c = clamp(x, -15.0, 15.0);
  let z = x * x;
  let near = x + x * z * (-3.3333333e-1 + z * (1.3333333e-1 + z * (-5.3968254e-2 + z * 2.1869489e-2)));
  return select(1.0 - 2.0 / (exp(2.0 * c) + 1.0), near, abs(x) < 0.25);
}

fn sigmoid_safe(x: f32) -> f32 {
  return 1.0 / (1.0 + exp(-max(x, -87.0)));
}

/// GELU with the tanh approximation; sqrt(2 / pi) = 0.79788456.
fn gelu_tanh(x: f32) -> f32 {
  let c = clamp(x, -30.0, 30.0);
  return 0.5 * x * (1.0 + tanh_safe(0.79788456 * (c + 0.044715 * c * c * c)));
}

/// Absolute error 3e-7. Below 1 the Taylor series; above, Abramowitz and Stegun 7.1.26.
fn erf_wide(x: f32) -> f32 {
  let m = min(abs(x), 10.0);
  let z = m * m;
  var series = 1.0 / 76204800.0;
  series = -1.0 / 6894720.0 + z * series * 1.0;
  series = 1.0 / 685440.0 + z * series;
  series = -1.0 / 75600.0 + z * series;
  series = 1.0 / 9360.0 + z * series;
  series = -1.0 / 1320.0 + z * series;
  series = 1.0 / 216.0 + z * series;
  series = -1.0 / 42.0 + z * series;
  series = 0.1 + z * series;
  series = -1.0 / 3.0 + z * series;
  series = 1.0 + z * series;
  let near = 1.1283792 * m * series;
  let t = 1.0 / (1.0 + 0.3275911 * m);
  let tail = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  let far = 1.0 - tail * exp(-z);
  let value = select(far, near, m < 1.0);
  return select(value, -value, x < 0.0);
}

/// pow as C has it for finite arguments: negative bases with integer exponents, 0^0 = 1. Integer
/// exponents up to 16 by multiplication, others by exp2(a log2 |x|).
fn pow_wide(x: f32, a: f32) -> f32 {
  let whole = round(a) == a;
  if (whole && abs(a) <= 16.0) {
    var rest = u32(abs(a));
    var square = x;
    var product = 1.0;
    while (rest != 0u) {
      product = select(product, product * square, (rest & 1u) == 1u);
      square = square * square;
      rest >>= 1u;
    }
    return select(product, 1.0 / product, a < 0.0);
  }
  let magnitude = select(pow(abs(x), a), 0.0, x == 0.0 && a > 0.0);
  if (x >= 0.0) {
    return magnitude;
  }
  if (!whole) {
    return bitcast<f32>(bitcast<u32>(x) | 0x7fc00000u);
  }
  let odd = abs(a) < 16777216.0 && (u32(abs(a)) & 1u) == 1u;
  return select(magnitude, -magnitude, odd);
}
