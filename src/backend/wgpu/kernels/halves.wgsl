// halves: workgroup memory of matrix cores in attention: `halves`, kHalves F16 operands, and `scores`,
// kScores F32 results. Needs weight.wgsl. All places count elements.

alias Left = subgroup_matrix_left<f16, 16, 16>;
alias Right = subgroup_matrix_right<f16, 16, 16>;
alias Result = subgroup_matrix_result<f32, 16, 16>;

// Each variable is a multiple of 16 bytes: NVIDIA loads matrices from addresses that are.
var<workgroup> halves: buffer<2u * kHalves>;
var<workgroup> scores: buffer<4u * kScores>;

// Eight halves from `at`, a multiple of eight; none is beyond the limits of F16.
fn put_shares(at: u32, lo: vec4<f32>, hi: vec4<f32>) {
  let pieces = bufferView<array<vec4<u32>, kHalves / 8u>>(&halves, 0u);
  pieces[at >> 3u] = vec4<u32>(pack2x16float(lo.xy), pack2x16float(lo.zw), pack2x16float(hi.xy),
                               pack2x16float(hi.zw));
}

// Any two numbers as F16: limited in pairs, which takes half of the instructions.
fn half_pair(v: vec2<f32>) -> u32 {
  return bitcast<u32>(clamp(vec2<f16>(v), vec2<f16>(-65504.0h), vec2<f16>(65504.0h)));
}

// Eight of these from `at`, a multiple of eight.
fn put8(at: u32, v: Eight) {
  let pieces = bufferView<array<vec4<u32>, kHalves / 8u>>(&halves, 0u);
  pieces[at >> 3u] = vec4<u32>(half_pair(v.lo.xy), half_pair(v.lo.zw), half_pair(v.hi.xy),
                               half_pair(v.hi.zw));
}

// Four scores from `at`, a multiple of four: 16 bytes a thread meet no bank twice.
fn score4(at: u32) -> vec4<f32> {
  let quads = bufferView<array<vec4<f32>, kScores / 4u>>(&scores, 0u);
  return quads[at >> 2u];
}

// 16 x 16 halves of a tile.
fn left_at(at: u32, pitch: u32) -> Left {
  let view = bufferView<array<f16, kHalves>>(&halves, 0u);
  return subgroupMatrixLoad<Left>(view, at, false, pitch);
}

fn right_at(at: u32, pitch: u32) -> Right {
  let view = bufferView<array<f16, kHalves>>(&halves, 0u);
  return subgroupMatrixLoad<Right>(view, at, false, pitch);
}

// Its rows are columns.
fn turned_right_at(at: u32, pitch: u32) -> Right {
  let view = bufferView<array<f16, kHalves>>(&halves, 0u);
  return subgroupMatrixLoad<Right>(view, at, true, pitch);
}

fn store_result(at: u32, sums: Result, pitch: u32) {
  let words = bufferView<array<f32, kScores>>(&scores, 0u);
  subgroupMatrixStore(words, at, sums, false, pitch);
}
