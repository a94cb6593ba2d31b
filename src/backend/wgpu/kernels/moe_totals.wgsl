// moe_totals: how moe_few adds up what its lanes, 32 without subgroups, have for each of four pairs.

// The sums over all lanes of what they have for slots 0 to 3: lane i gets those of slot i % 4. Every slot's
// are added in the same order.
//:if SUBGROUPS
fn fold(a: vec4<f32>, b: vec4<f32>, lane: u32, width: u32) -> vec4<f32> {
  let upper = (lane & width) != 0u;
  return select(a, b, upper) + subgroupShuffleXor(select(b, a, upper), width);
}

fn totals(s0: vec4<f32>, s1: vec4<f32>, s2: vec4<f32>, s3: vec4<f32>, thread: u32, lane: u32,
          lanes: u32) -> vec4<f32> {
  var sum = fold(fold(s0, s1, lane, 1u), fold(s2, s3, lane, 1u), lane, 2u);
  for (var width = 4u; width < lanes; width *= 2u) {
    sum += subgroupShuffleXor(sum, width);
  }
  return sum;
}
//:else
const kLanes = 32u;
var<workgroup> partial: array<vec4<f32>, 128>;

fn total(part: vec4<f32>, thread: u32, lane: u32) -> vec4<f32> {
  workgroupBarrier();
  partial[thread] = part;
  for (var step = kLanes / 2u; step > 0u; step /= 2u) {
    workgroupBarrier();
    if (lane < step) {
      partial[thread] += partial[thread + step];
    }
  }
  workgroupBarrier();
  return partial[thread - lane];
}

fn totals(s0: vec4<f32>, s1: vec4<f32>, s2: vec4<f32>, s3: vec4<f32>, thread: u32, lane: u32,
          lanes: u32) -> vec4<f32> {
  let a = total(s0, thread, lane);
  let b = total(s1, thread, lane);
  let c = total(s2, thread, lane);
  let d = total(s3, thread, lane);
  let odd = (lane & 1u) != 0u;
  return select(select(a, b, odd), select(c, d, odd), (lane & 2u) != 0u);
}
//:end
