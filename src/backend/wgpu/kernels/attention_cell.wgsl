// attention_cell: eight elements of a key/value cache that attention_step reads and writes: keys, values,
// of W_F32, W_BF16 or W_Q8_16. RECENT: a Q8_16 cache whose newest pages are F16; they lie in the same
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

// As recent pages hold them, F16 within its range, or BF16.
fn pair_of(v: vec2<f32>) -> u32 {
//:if RECENT
  let most = vec2<f32>(65504.0);
  let within = clamp(v, -most, most);
  return f32_to_f16(within.x) | (f32_to_f16(within.y) << 16u);
//:else
  return f32_to_bf16(v.x) | (f32_to_bf16(v.y) << 16u);
//:end
}

fn narrow(v: Eight) -> vec4<u32> {
  return vec4<u32>(pair_of(v.lo.xy), pair_of(v.lo.zw), pair_of(v.hi.xy), pair_of(v.hi.zw));
}

// Where a lane's eight elements from d on are in their row: of Q8_16 in words of nine a block.
//:if W_Q8_16
struct Spot {
  scale: u32,
  first: u32,
  shift: u32,  // of the scale in its word
  d: u32,
}

fn spot_of(d: u32) -> Spot {
  let block = (d >> 5u) * 9u;
  return Spot(block, block + 1u + ((d & 31u) >> 2u), d & 16u, d);
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
// whether they are F16 of recent pages.
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
//:if W_Q8_16
// Two words with eight bytes and one with their scale; or four words of F16.
struct Raw {
  words: vec4<u32>,
}

// Without a branch, so that loads of several keys are under way.
fn fetch(which: u32, row: u32, spot: Spot, recent: bool) -> Raw {
  if (recent) {
    let at = (recent_offset(which) + row + spot.d) >> 1u;
    return Raw(vec4<u32>(w_word(which, at), w_word(which, at + 1u), w_word(which, at + 2u),
                         w_word(which, at + 3u)));
  }
  let at = ((cache_offset(which) + row) >> 5u) * 9u;
  let i = at + spot.first;
  return Raw(vec4<u32>(w_word(which, i), w_word(which, i + 1u), w_word(which, at + spot.scale), 0u));
}

fn unpacked(raw: Raw, spot: Spot, recent: bool) -> Eight {
  if (recent) {
    return eight_f16(raw.words);
  }
  let scale = unpack2x16float(raw.words.z >> spot.shift).x;
  return Eight(scale * vec4<f32>(unpack4xI8(raw.words.x)),
               scale * vec4<f32>(unpack4xI8(raw.words.y)));
}

fn largest(v: vec4<f32>) -> f32 {
  let a = abs(v);
  return max(max(a.x, a.y), max(a.z, a.w));
}

// Four lanes share a block, two of them a scale. In subgroup uniform control flow only.
fn keep(which: u32, row: u32, recent: u32, v: Eight, write: bool) -> Eight {
  let own = max(largest(v.lo), largest(v.hi));
  let top = max(own, subgroupShuffleXor(own, 1u));
  let scale = f32_to_f16(min(top / 127.0, 65504.0));
  let step = f16_to_f32(scale);
  let by = select(0.0, 1.0 / max(step, 1.0e-30), step > 0.0);
  let lo = clamp(round(v.lo * by), vec4<f32>(-127.0), vec4<f32>(127.0));
  let hi = clamp(round(v.hi * by), vec4<f32>(-127.0), vec4<f32>(127.0));
  let other = subgroupShuffleXor(scale, 2u);
  if (write) {
    let at = cache_offset(which) + row;
    let lane = (at & 31u) >> 3u;
    let block = (at >> 5u) * 9u;
    if (lane == 0u) {
      put(which, block, scale | (other << 16u));
    }
    put(which, block + 1u + 2u * lane, pack4xI8(vec4<i32>(lo)));
    put(which, block + 2u + 2u * lane, pack4xI8(vec4<i32>(hi)));
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
  return eight_f16(q);
//:else
  return Eight(step * lo, step * hi);
//:end
}
//:end
