// random: Philox4x32-10 into gapless F32 or (HALF) BF16, eight elements a thread; the arithmetic of
// backend/philox.h line by line. Uniform: shift + scale * u; NORMAL: shift + scale * n.
// Position p of the buffer holds element base + p (64 bits) for p in [begin, end); other elements keep
// their bits, so that a thread owns whole words. ODD: base is no multiple of 4.
//:include common
//:include bf16

struct Params {
  base_low: u32,
  base_high: u32,
  begin: u32,
  end: u32,
  seed_low: u32,
  seed_high: u32,
  shift: f32,
  scale: f32,
}

@group(0) @binding(0) var<storage, read_write> y: array<u32>;
@group(0) @binding(1) var<uniform> params: Params;

fn high_product(a: u32, b: u32) -> u32 {
  let low = (a & 0xffffu) * (b & 0xffffu);
  let left = (a >> 16u) * (b & 0xffffu);
  let right = (a & 0xffffu) * (b >> 16u);
  let middle = (low >> 16u) + (left & 0xffffu) + (right & 0xffffu);
  return (a >> 16u) * (b >> 16u) + (left >> 16u) + (right >> 16u) + (middle >> 16u);
}

fn philox(index_low: u32, index_high: u32) -> vec4<u32> {
  var c = vec4<u32>(index_low, index_high, 0u, 0u);
  var k = vec2<u32>(params.seed_low, params.seed_high);
  for (var round_number = 0u; round_number < 10u; round_number++) {
    c = vec4<u32>(high_product(0xCD9E8D57u, c.z) ^ c.y ^ k.x, 0xCD9E8D57u * c.z,
                  high_product(0xD2511F53u, c.x) ^ c.w ^ k.y, 0xD2511F53u * c.x);
    k += vec2<u32>(0x9E3779B9u, 0xBB67AE85u);
  }
  return c;
}

fn log_unit(x: f32) -> f32 {
  var bits = bitcast<u32>(x);
  let exponent = bitcast<i32>(bits - 0x3f3504f3u) >> 23u;
  bits -= bitcast<u32>(exponent) << 23u;
  let m = bitcast<f32>(bits);
  let s = (m - 1.0) / (m + 1.0);
  let z = s * s;
  let series = 1.0 + z * (0.33333333 + z * (0.2 + z * (0.14285714 + z * 0.11111111)));
  return f32(exponent) * 0.69314718 + 2.0 * s * series;
}

// (sin, cos) of 2 pi u.
fn sincos_turn(u: f32) -> vec2<f32> {
  let k = floor(u * 4.0 + 0.5);
  let t = (u - k * 0.25) * 6.2831853;
  let z = t * t;
  let s = t * (1.0 + z * (-0.16666667 + z * (0.0083333333 +
               z * (-0.00019841270 + z * 0.0000027557319))));
  let c = 1.0 + z * (-0.5 + z * (0.041666667 + z * (-0.0013888889 +
               z * (0.000024801587 + z * -0.00000027557319))));
  switch u32(k) & 3u {
    case 0u: { return vec2<f32>(s, c); }
    case 1u: { return vec2<f32>(c, -s); }
    case 2u: { return vec2<f32>(-s, -c); }
    default: { return vec2<f32>(-c, s); }
  }
}

// Elements 4 * index to 4 * index + 3.
fn four(index_low: u32, index_high: u32) -> vec4<f32> {
  let u = vec4<f32>(philox(index_low, index_high) >> vec4<u32>(8u)) * 5.9604644775390625e-8;
//:if NORMAL
  let radius = vec2<f32>(sqrt(-2.0 * log_unit(1.0 - u.x)), sqrt(-2.0 * log_unit(1.0 - u.z)));
  let first = sincos_turn(u.y);
  let second = sincos_turn(u.w);
  let n = vec4<f32>(radius.x * first.y, radius.x * first.x, radius.y * second.y,
                    radius.y * second.x);
  return params.shift + params.scale * n;
//:else
  return params.shift + params.scale * u;
//:end
}

fn block(low: u32, high: u32, number: u32) -> vec4<f32> {
  let index_low = (low >> 2u) | (high << 30u);
  let at = index_low + number;
  // Arithmetic shift: the element in front of a tensor's first has the index -1.
  let index_high = bitcast<u32>(bitcast<i32>(high) >> 2u);
  return four(at, index_high + select(0u, 1u, at < index_low));
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>,
        @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let item = workgroup_index(group, groups) * 256u + thread;
  let start = params.begin & ~7u;
  if (item >= (params.end - start + 7u) / 8u) {
    return;
  }
  let p = start + item * 8u;
  let low = params.base_low + p;
  let high = params.base_high + select(0u, 1u, low < p);
  let one = block(low, high, 0u);
  let two = block(low, high, 1u);
  var values = array<f32, 8>(one.x, one.y, one.z, one.w, two.x, two.y, two.z, two.w);
//:if ODD
  let three = block(low, high, 2u);
  var all = array<f32, 12>(one.x, one.y, one.z, one.w, two.x, two.y, two.z, two.w,
                           three.x, three.y, three.z, three.w);
  for (var j = 0u; j < 8u; j++) {
    values[j] = all[j + (low & 3u)];
  }
//:end
//:if HALF
  for (var j = 0u; j < 4u; j++) {
    let at = p + 2u * j;
    let bits = f32_to_bf16(values[2u * j]) | (f32_to_bf16(values[2u * j + 1u]) << 16u);
    var mine = select(0u, 0xffffu, at >= params.begin && at < params.end);
    mine |= select(0u, 0xffff0000u, at + 1u >= params.begin && at + 1u < params.end);
    if (mine == 0xffffffffu) {
      y[at >> 1u] = bits;
    } else if (mine != 0u) {
      y[at >> 1u] = (y[at >> 1u] & ~mine) | (bits & mine);
    }
  }
//:else
  for (var j = 0u; j < 8u; j++) {
    if (p + j >= params.begin && p + j < params.end) {
      y[p + j] = bitcast<u32>(values[j]);
    }
  }
//:end
}
