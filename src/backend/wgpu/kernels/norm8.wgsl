// norm8: eight consecutive weights of an RMSNorm from the binding `norm`, array<vec4<u32>> of BF16 under
// NORM_BF16, else array<vec4<f32>>; `at` counts elements and is a multiple of 8. Needs weight.wgsl.

fn norm8(at: u32) -> Eight {
//:if NORM_BF16
  let q = norm[at >> 3u];
  return eight_bf16(q);
//:else
  let i = at >> 2u;
  return Eight(norm[i], norm[i + 1u]);
//:end
}
