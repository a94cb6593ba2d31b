// attention_cell: eight elements of a key/value cache that attention_step reads and writes: keys, values,
// of W_F32, W_BF16 or W_Q8_0. RECENT: a Q8_0 cache whose newest pages are BF16; they lie in the same
// buffers, from elements k_recent and v_recent on. Needs weight.wgsl and the operands.
//:include bf16

fn cache_offset(which: u32) -> u32 {
  return select(params.v_cache_offset, params.k_cache_offset, which == 0u);
}

fn recent_offset(which: u32) -> u32 {
  return select(params.v_recent, params.k_recent, which == 0u);
}

fn put(which: u32, i: u32, value: {{W_TYPE}}) {
  if (which == 0u) {
    keys[i] = value;
  } else {
    values[i] = value;
  }
}

fn pair_of(v: vec2<f32>) -> u32 {
  return f32_to_bf16(v.x) | (f32_to_bf16(v.y) << 16u);
}

fn narrow(v: Eight) -> vec4<u32> {
  return vec4<u32>(pair_of(v.lo.xy), pair_of(v.lo.zw), pair_of(v.hi.xy), pair_of(v.hi.zw));
}

// Where a lane's eight elements from d on are in their row: of Q8_0 words of a pair of blocks, which has
// 17; rows begin with a pair.
//:if W_Q8_0
struct Spot {
  first: u32,
  third: u32,
  scale: u32,
  odd: u32,
  d: u32,
}

fn spot_of(d: u32) -> Spot {
  let odd = (d >> 5u) & 1u;
  let pair = (d >> 6u) * 17u;
  let first = pair + ((odd * 34u + 2u + (d & 31u)) >> 2u);
  return Spot(first, first + 2u - odd, pair + odd * 8u, odd, d);
}
//:else
struct Spot {
  d: u32,
}

fn spot_of(d: u32) -> Spot {
  return Spot(d);
}
//:end

// Raw: eight elements as they lie in the cache, fetched early, unpacked late. `recent`, a constant, says
// whether they are BF16 of recent pages.
// keep: `v` as attention sees it later; put there if `write`, to row `row` and, of recent pages, `recent`.
//:if W_F32
struct Raw {
  lo: vec4<u32>,
  hi: vec4<u32>,
}

fn fetch(which: u32, row: u32, spot: Spot, recent: bool) -> Raw {
  let at = (cache_offset(which) + row + spot.d) >> 2u;
  return Raw(w_quad(which, at), w_quad(which, at + 1u));
}

fn unpacked(raw: Raw, spot: Spot, recent: bool) -> Eight {
  return Eight(bitcast<vec4<f32>>(raw.lo), bitcast<vec4<f32>>(raw.hi));
}

fn keep(which: u32, row: u32, recent: u32, v: Eight, write: bool) -> Eight {
  if (write) {
    let at = (cache_offset(which) + row) >> 2u;
    put(which, at, bitcast<vec4<u32>>(v.lo));
    put(which, at + 1u, bitcast<vec4<u32>>(v.hi));
  }
  return v;
}
//:end
//:if W_BF16
struct Raw {
  q: vec4<u32>,
}

fn fetch(which: u32, row: u32, spot: Spot, recent: bool) -> Raw {
  return Raw(w_quad(which, (cache_offset(which) + row + spot.d) >> 3u));
}

fn unpacked(raw: Raw, spot: Spot, recent: bool) -> Eight {
  return eight_bf16(raw.q);
}

fn keep(which: u32, row: u32, recent: u32, v: Eight, write: bool) -> Eight {
  let q = narrow(v);
  if (write) {
    put(which, (cache_offset(which) + row) >> 3u, q);
  }
  return eight_bf16(q);
}
//:end
//:if W_Q8_0
// Three words with eight bytes, which begin in the middle of the first one in even blocks, and one whose
// upper half is an odd block's scale; or four words of BF16.
struct Raw {
  words: vec3<u32>,
  last: u32,
}

// Without a branch, so that loads of several keys are under way.
fn fetch(which: u32, row: u32, spot: Spot, recent: bool) -> Raw {
  if (recent) {
    let at = (recent_offset(which) + row + spot.d) >> 1u;
    return Raw(vec3<u32>(w_word(which, at), w_word(which, at + 1u), w_word(which, at + 2u)),
               w_word(which, at + 3u));
  }
  let at = ((cache_offset(which) + row) >> 6u) * 17u;
  return Raw(vec3<u32>(w_word(which, at + spot.first), w_word(which, at + spot.first + 1u),
                       w_word(which, at + spot.third)),
             w_word(which, at + spot.scale));
}

fn unpacked(raw: Raw, spot: Spot, recent: bool) -> Eight {
  if (recent) {
    return eight_bf16(vec4<u32>(raw.words, raw.last));
  }
  let apart = (raw.words.xy >> vec2<u32>(16u)) | (raw.words.yz << vec2<u32>(16u));
  let q = select(apart, raw.words.xy, spot.odd == 1u);
  let scale = unpack2x16float(raw.last >> (spot.odd << 4u)).x;
  return Eight(scale * vec4<f32>(unpack4xI8(q.x)), scale * vec4<f32>(unpack4xI8(q.y)));
}

fn largest(v: vec4<f32>) -> f32 {
  let a = abs(v);
  return max(max(a.x, a.y), max(a.z, a.w));
}

// Four lanes share a block. Its 34 bytes begin at a word for even blocks, in the middle of one for odd
// ones, so that in even blocks a lane's bytes lie across words. In subgroup uniform control flow only.
fn keep(which: u32, row: u32, recent: u32, v: Eight, write: bool) -> Eight {
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
    let at = cache_offset(which) + row;
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
//:if RECENT
  let q = narrow(v);
  if (write) {
    let at = (recent_offset(which) + recent) >> 1u;
    put(which, at, q.x);
    put(which, at + 1u, q.y);
    put(which, at + 2u, q.z);
    put(which, at + 3u, q.w);
  }
  return eight_bf16(q);
//:else
  return Eight(step * lo, step * hi);
//:end
}
//:end
