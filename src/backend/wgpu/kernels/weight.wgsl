// weight: eight consecutive elements of a row, dequantised in registers. Included by every kernel
// that reads weights or a key/value cache; the kernel itself brings
//   fn w_word(which: u32, i: u32) -> u32        32-bit word i of matrix `which`, or, under W_VEC4,
//   fn w_quad(which: u32, i: u32) -> vec4<u32>  16 bytes at word 4 i, or, under W_PAIR,
//   fn w_pair(which: u32, i: u32) -> vec2<u32>  8 bytes at word 2 i: four elements at a time.
// One of W_F32, W_F16, W_BF16, W_Q8_0, W_Q4_0, W_Q4_1, W_Q8_16 is defined. `start` counts elements, for block
// formats blocks, and says where the row begins; `k` is a multiple of 8 inside the row of `cols`
// elements. Elements past the end of the row are zeros. W_VEC4 (F32, F16, BF16): every start and
// `cols` are multiples of 8; W_PAIR (F16, BF16): of 4. Block formats have rows of whole blocks.
// Block layouts: ggml-common.h, block_q8_0 (34 bytes), block_q4_0 (18), block_q4_1 (20); Q8_16, of caches:
// nine words, two F16 scales of sixteen elements each, then bytes.

struct Eight {
  lo: vec4<f32>,
  hi: vec4<f32>,
}

// Added up as a tree: three additions deep, where one after the other they would be eight.
fn dot8(a: Eight, b: Eight) -> f32 {
  let products = fma(a.hi, b.hi, a.lo * b.lo);
  return (products.x + products.y) + (products.z + products.w);
}

fn low_bf16(word: u32) -> f32 {
  return bitcast<f32>(word << 16u);
}

fn high_bf16(word: u32) -> f32 {
  return bitcast<f32>(word & 0xffff0000u);
}

// Eight elements of F16.
fn eight_f16(q: vec4<u32>) -> Eight {
  return Eight(vec4<f32>(unpack2x16float(q.x), unpack2x16float(q.y)),
               vec4<f32>(unpack2x16float(q.z), unpack2x16float(q.w)));
}

// Eight elements of BF16.
fn eight_bf16(q: vec4<u32>) -> Eight {
  return Eight(vec4<f32>(low_bf16(q.x), high_bf16(q.x), low_bf16(q.y), high_bf16(q.y)),
               vec4<f32>(low_bf16(q.z), high_bf16(q.z), low_bf16(q.w), high_bf16(q.w)));
}

//:if W_BF16
fn half_of(word: u32, odd: u32) -> f32 {
  return bitcast<f32>((word >> (odd << 4u)) << 16u);
}

fn four_of(q: vec2<u32>) -> vec4<f32> {
  return vec4<f32>(low_bf16(q.x), high_bf16(q.x), low_bf16(q.y), high_bf16(q.y));
}
//:end
//:if W_F16
fn half_of(word: u32, odd: u32) -> f32 {
  return unpack2x16float(word >> (odd << 4u)).x;
}

fn four_of(q: vec2<u32>) -> vec4<f32> {
  return vec4<f32>(unpack2x16float(q.x), unpack2x16float(q.y));
}
//:end

//:if W_PAIR
fn weight4(which: u32, start: u32, k: u32) -> vec4<f32> {
  return four_of(w_pair(which, (start + k) >> 2u));
}
//:else
//:if W_VEC4
//:if W_F32
fn weight8(which: u32, start: u32, k: u32, cols: u32) -> Eight {
  let i = (start + k) >> 2u;
  return Eight(bitcast<vec4<f32>>(w_quad(which, i)), bitcast<vec4<f32>>(w_quad(which, i + 1u)));
}
//:else
fn weight8(which: u32, start: u32, k: u32, cols: u32) -> Eight {
  let q = w_quad(which, (start + k) >> 3u);
  return Eight(four_of(q.xy), four_of(q.zw));
}
//:end
//:else
//:if W_F32
fn weight1(which: u32, i: u32) -> f32 {
  return bitcast<f32>(w_word(which, i));
}
//:end
//:if W_BF16
fn weight1(which: u32, i: u32) -> f32 {
  return half_of(w_word(which, i >> 1u), i & 1u);
}
//:end
//:if W_F16
fn weight1(which: u32, i: u32) -> f32 {
  return half_of(w_word(which, i >> 1u), i & 1u);
}
//:end
//:if W_BLOCKS
// Eight bytes from byte `at`, which is even, as two words.
fn bytes8(which: u32, at: u32) -> vec2<u32> {
  let i = at >> 2u;
  let a = w_word(which, i);
  let b = w_word(which, i + 1u);
  if ((at & 2u) == 0u) {
    return vec2<u32>(a, b);
  }
  return vec2<u32>((a >> 16u) | (b << 16u), (b >> 16u) | (w_word(which, i + 2u) << 16u));
}

// The F16 at byte `at`, which is even.
fn f16_at(which: u32, at: u32) -> f32 {
  return unpack2x16float(w_word(which, at >> 2u) >> ((at & 2u) << 3u)).x;
}

//:if W_Q8_0
fn weight8(which: u32, start: u32, k: u32, cols: u32) -> Eight {
  let block = (start + (k >> 5u)) * 34u;
  let scale = f16_at(which, block);
  let q = bytes8(which, block + 2u + (k & 31u));
  return Eight(scale * vec4<f32>(unpack4xI8(q.x)), scale * vec4<f32>(unpack4xI8(q.y)));
}
//:end
//:if W_Q8_16
fn weight8(which: u32, start: u32, k: u32, cols: u32) -> Eight {
  let block = (start + (k >> 5u)) * 9u;
  let i = block + 1u + ((k & 31u) >> 2u);
  let scale = unpack2x16float(w_word(which, block) >> (k & 16u)).x;
  return Eight(scale * vec4<f32>(unpack4xI8(w_word(which, i))),
               scale * vec4<f32>(unpack4xI8(w_word(which, i + 1u))));
}
//:end
//:if W_Q4_0
fn weight8(which: u32, start: u32, k: u32, cols: u32) -> Eight {
  let block = (start + (k >> 5u)) * 18u;
  let scale = f16_at(which, block);
  let shift = (k & 16u) >> 2u;
  let q = (bytes8(which, block + 2u + (k & 15u)) >> vec2<u32>(shift)) & vec2<u32>(0x0f0f0f0fu);
  return Eight(scale * (vec4<f32>(unpack4xU8(q.x)) - 8.0), scale * (vec4<f32>(unpack4xU8(q.y)) - 8.0));
}
//:end
//:if W_Q4_1
fn weight8(which: u32, start: u32, k: u32, cols: u32) -> Eight {
  let block = (start + (k >> 5u)) * 20u;
  let scale = f16_at(which, block);
  let low = f16_at(which, block + 2u);
  let shift = (k & 16u) >> 2u;
  let q = (bytes8(which, block + 4u + (k & 15u)) >> vec2<u32>(shift)) & vec2<u32>(0x0f0f0f0fu);
  return Eight(scale * vec4<f32>(unpack4xU8(q.x)) + low, scale * vec4<f32>(unpack4xU8(q.y)) + low);
}
//:end
//:else
fn weight8(which: u32, start: u32, k: u32, cols: u32) -> Eight {
  var lo = vec4<f32>(0.0);
  var hi = vec4<f32>(0.0);
  let i = start + k;
  let n = cols - k;
  lo.x = weight1(which, i);
  if (n > 1u) { lo.y = weight1(which, i + 1u); }
  if (n > 2u) { lo.z = weight1(which, i + 2u); }
  if (n > 3u) { lo.w = weight1(which, i + 3u); }
  if (n > 4u) { hi.x = weight1(which, i + 4u); }
  if (n > 5u) { hi.y = weight1(which, i + 5u); }
  if (n > 6u) { hi.z = weight1(which, i + 6u); }
  if (n > 7u) { hi.w = weight1(which, i + 7u); }
  return Eight(lo, hi);
}
//:end
//:end
//:end
