// moe_io: reading eight columns of an activation, and silu. Needs weight.wgsl and a binding `x`,
// array<vec4<f32>> under X_VEC4 (starts are multiples of 4, `cols` of 8), else array<f32>.
//:include silu

fn x8(start: u32, k: u32, cols: u32) -> Eight {
//:if X_VEC4
  let i = (start + k) >> 2u;
  return Eight(x[i], x[i + 1u]);
//:else
  let i = start + k;
  var lo = vec4<f32>(0.0);
  var hi = vec4<f32>(0.0);
  let n = cols - k;
  lo.x = x[i];
  if (n > 1u) { lo.y = x[i + 1u]; }
  if (n > 2u) { lo.z = x[i + 2u]; }
  if (n > 3u) { lo.w = x[i + 3u]; }
  if (n > 4u) { hi.x = x[i + 4u]; }
  if (n > 5u) { hi.y = x[i + 5u]; }
  if (n > 6u) { hi.z = x[i + 6u]; }
  if (n > 7u) { hi.w = x[i + 7u]; }
  return Eight(lo, hi);
//:end
}
