// attention_cell: eight elements of a key/value cache that attention_step reads and writes: keys, values,
// of W_F32, W_BF16 or W_Q8_0. Needs weight.wgsl and the operands.
//:include bf16

// Eight elements as they lie in the cache: fetched early, unpacked late.
//:if W_F32
struct Raw {
  lo: vec4<u32>,
  hi: vec4<u32>,
}

fn fetch(which: u32, at: u32) -> Raw {
  return Raw(w_quad(which, at >> 2u), w_quad(which, (at >> 2u) + 1u));
}

fn unpacked(raw: Raw) -> Eight {
  return Eight(bitcast<vec4<f32>>(raw.lo), bitcast<vec4<f32>>(raw.hi));
}
//:end
//:if W_BF16
struct Raw {
  q: vec4<u32>,
}

fn fetch(which: u32, at: u32) -> Raw {
  return Raw(w_quad(which, at >> 3u));
}

fn unpacked(raw: Raw) -> Eight {
  return Eight(
    vec4<f32>(low_bf16(raw.q.x), high_bf16(raw.q.x), low_bf16(raw.q.y), high_bf16(raw.q.y)),
    vec4<f32>(low_bf16(raw.q.z), high_bf16(raw.q.z), low_bf16(raw.q.w), high_bf16(raw.q.w)));
}
//:end
//:if W_Q8_0
// Three words with eight bytes, which begin in the middle of the first one in even blocks, and one whose
// upper half is an odd block's scale. Without a branch, so that loads of several keys are under way.
struct Raw {
  words: vec3<u32>,
  scale: u32,
  odd: u32,
}

fn fetch(which: u32, at: u32) -> Raw {
  let block = at >> 5u;
  let odd = block & 1u;
  let first = (block * 34u + 2u + (at & 31u)) >> 2u;
  return Raw(vec3<u32>(w_word(which, first), w_word(which, first + 1u), w_word(which, first + 2u - odd)),
             w_word(which, (block * 34u) >> 2u), odd);
}

fn unpacked(raw: Raw) -> Eight {
  let apart = (raw.words.xy >> vec2<u32>(16u)) | (raw.words.yz << vec2<u32>(16u));
  let q = select(apart, raw.words.xy, raw.odd == 1u);
  let scale = unpack2x16float(raw.scale >> (raw.odd << 4u)).x;
  return Eight(scale * vec4<f32>(unpack4xI8(q.x)), scale * vec4<f32>(unpack4xI8(q.y)));
}
//:end

fn put(which: u32, i: u32, value: {{W_TYPE}}) {
  if (which == 0u) {
    keys[i] = value;
  } else {
    values[i] = value;
  }
}

// keep: `v` as the cache holds it at element `at`; put there if `write`.
//:if W_F32
fn keep(which: u32, at: u32, v: Eight, write: bool) -> Eight {
  if (write) {
    put(which, at >> 2u, bitcast<vec4<u32>>(v.lo));
    put(which, (at >> 2u) + 1u, bitcast<vec4<u32>>(v.hi));
  }
  return v;
}
//:end
//:if W_BF16
fn pair_of(v: vec2<f32>) -> u32 {
  return f32_to_bf16(v.x) | (f32_to_bf16(v.y) << 16u);
}

fn keep(which: u32, at: u32, v: Eight, write: bool) -> Eight {
  let q = vec4<u32>(pair_of(v.lo.xy), pair_of(v.lo.zw), pair_of(v.hi.xy), pair_of(v.hi.zw));
  if (write) {
    put(which, at >> 3u, q);
  }
  return unpacked(Raw(q));
}
//:end
//:if W_Q8_0
fn largest(v: vec4<f32>) -> f32 {
  let a = abs(v);
  return max(max(a.x, a.y), max(a.z, a.w));
}

// Four lanes share a block. Its 34 bytes begin at a word for even blocks, in the middle of one for odd
// ones, so that in even blocks a lane's bytes lie across words. In subgroup uniform control flow only.
fn keep(which: u32, at: u32, v: Eight, write: bool) -> Eight {
  var top = max(largest(v.lo), largest(v.hi));
  top = max(top, subgroupShuffleXor(top, 1u));
  top = max(top, subgroupShuffleXor(top, 2u));
  let scale = f32_to_f16(min(top / 127.0, 65504.0));
  let step = f16_to_f32(scale);
  let by = select(0.0, 1.0 / max(step, 1.0e-30), step > 0.0);
  let lo = clamp(round(v.lo * by), vec4<f32>(-127.0), vec4<f32>(127.0));
  let hi = clamp(round(v.hi * by), vec4<f32>(-127.0), vec4<f32>(127.0));
  let first = pack4xI8(vec4<i32>(lo));
  let second = pack4xI8(vec4<i32>(hi));
  let before = subgroupShuffleUp(second, 1u) >> 16u;
  if (write) {
    let lane = (at & 31u) >> 3u;
    let word = (at >> 6u) * 17u;
    if ((at & 32u) == 0u) {
      put(which, word + 2u * lane, select(before, scale, lane == 0u) | (first << 16u));
      put(which, word + 2u * lane + 1u, (first >> 16u) | (second << 16u));
    } else {
      if (lane == 0u) {
        put(which, word + 8u, before | (scale << 16u));
      }
      put(which, word + 9u + 2u * lane, first);
      put(which, word + 10u + 2u * lane, second);
    }
  }
  return Eight(step * lo, step * hi);
}
//:end
