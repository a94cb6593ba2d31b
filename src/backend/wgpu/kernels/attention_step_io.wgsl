// attention_step_io: operands and params of attention_step, and what it does with eight dimensions of a
// raw head: norm, rotation, sums over a team, rounding to the type of the cache. Needs common.wgsl,
// weight.wgsl, kHeads and kLanes.
//:include bf16
//:include reals

struct Params {
  tokens: u32,
  heads: u32,
  kv_heads: u32,
  dim: u32,
  splits: u32,
  page: u32,
  cache_pages: u32,
  max_pages: u32,
  scale: f32,
  eps: f32,
  interleaved: u32,
  q_offset: u32,
  q_token: u32,      // strides of q, k, v
  q_head: u32,
  k_offset: u32,
  k_token: u32,
  k_head: u32,
  v_offset: u32,
  v_token: u32,
  v_head: u32,
  cos_offset: u32,
  sin_offset: u32,
  positions_offset: u32,
  slots_offset: u32,
  spans_offset: u32,
  pages_offset: u32,
  k_cache_offset: u32,
  v_cache_offset: u32,
  q_norm_offset: u32,
  q_norm_kind: u32,
  k_norm_offset: u32,
  k_norm_kind: u32,
  y_offset: u32,
  y_token: u32,
  y_head: u32,
}

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> numbers: array<u32>;
@group(0) @binding(2) var<storage, read> tables: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> keys: array<{{W_TYPE}}>;
@group(0) @binding(4) var<storage, read_write> values: array<{{W_TYPE}}>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;
//:if WITH_NORM
@group(0) @binding(6) var<storage, read> q_norm: array<u32>;
@group(0) @binding(7) var<storage, read> k_norm: array<u32>;
@group(0) @binding(8) var<uniform> params: Params;
//:else
@group(0) @binding(6) var<uniform> params: Params;
//:end

fn {{W_READ}}(which: u32, i: u32) -> {{W_TYPE}} {
  if (which == 0u) {
    return keys[i];
  }
  return values[i];
}

fn times(a: Eight, b: Eight) -> Eight {
  return Eight(a.lo * b.lo, a.hi * b.hi);
}

fn scaled(a: Eight, by: f32) -> Eight {
  return Eight(a.lo * by, a.hi * by);
}

fn x8(at: u32) -> Eight {
  return Eight(x[at >> 2u], x[(at >> 2u) + 1u]);
}

// How a head turns: y = own * a + other * b, other being the partners of the pairs.
struct Turn {
  own: Eight,
  other: Eight,
}

fn turned(own: Eight, other: Eight, by: Turn) -> Eight {
  let a = times(own, by.own);
  let b = times(other, by.other);
  return Eight(a.lo + b.lo, a.hi + b.hi);
}

// The partners of eight dimensions: the piece at `partner`, or the neighbours.
fn partners(own: Eight, source: u32, partner: u32) -> Eight {
  if (params.interleaved != 0u) {
    return Eight(own.lo.yxwz, own.hi.yxwz);
  }
  return x8(source + partner);
}

// Cosines and signed sines of dimensions d to d + 7 at a row of the tables; zeros for idle lanes.
fn turn_at(position: u32, d: u32, live: bool) -> Turn {
  let half = params.dim / 2u;
  let row = position * half;
  let factor = select(0.0, 1.0, live);
  if (params.interleaved != 0u) {
    let c = factor * tables[(params.cos_offset + row + d / 2u) >> 2u];
    let s = factor * tables[(params.sin_offset + row + d / 2u) >> 2u];
    let signs = vec4<f32>(-1.0, 1.0, -1.0, 1.0);
    return Turn(Eight(c.xxyy, c.zzww), Eight(signs * s.xxyy, signs * s.zzww));
  }
  let i = select(d, d - half, d >= half);
  let sign = select(-factor, factor, d >= half);
  let c = (params.cos_offset + row + i) >> 2u;
  let s = (params.sin_offset + row + i) >> 2u;
  return Turn(Eight(factor * tables[c], factor * tables[c + 1u]),
              Eight(sign * tables[s], sign * tables[s + 1u]));
}

//:if WITH_NORM
fn norm1(key: bool, d: u32) -> f32 {
  if (key) {
    let i = params.k_norm_offset + d;
    return real_of(params.k_norm_kind, k_norm[word_of(params.k_norm_kind, i)], i);
  }
  let i = params.q_norm_offset + d;
  return real_of(params.q_norm_kind, q_norm[word_of(params.q_norm_kind, i)], i);
}

fn norm8(key: bool, d: u32) -> Eight {
  return Eight(vec4<f32>(norm1(key, d), norm1(key, d + 1u), norm1(key, d + 2u), norm1(key, d + 3u)),
               vec4<f32>(norm1(key, d + 4u), norm1(key, d + 5u), norm1(key, d + 6u),
                         norm1(key, d + 7u)));
}

// The turn of normalised heads, up to the factor of each head.
fn weighted(turn: Turn, key: bool, d: u32, partner: u32) -> Turn {
  let own = norm8(key, d);
  var other = Eight(own.lo.yxwz, own.hi.yxwz);
  if (params.interleaved == 0u) {
    other = norm8(key, partner);
  }
  return Turn(times(turn.own, own), times(turn.other, other));
}

fn norm_factor(squares: f32) -> f32 {
  return 1.0 / sqrt(squares / f32(params.dim) + params.eps);
}
//:end

fn put(which: u32, i: u32, value: {{W_TYPE}}) {
  if (which == 0u) {
    keys[i] = value;
  } else {
    values[i] = value;
  }
}

// Sums over the lanes of a team, one head a lane: lane i gets head i % kHeads.
fn sum_heads(dots: array<f32, {{HEADS}}>, lane: u32) -> f32 {
  var d = dots;
  for (var half = kHeads / 2u; half > 0u; half /= 2u) {
    let upper = (lane & half) != 0u;
    for (var i = 0u; i < half; i++) {
      let mine = select(d[i], d[i + half], upper);
      d[i] = mine + subgroupShuffleXor(select(d[i + half], d[i], upper), half);
    }
  }
  for (var width = kHeads; width < kLanes; width *= 2u) {
    d[0] += subgroupShuffleXor(d[0], width);
  }
  return d[0];
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
  return Eight(vec4<f32>(low_bf16(q.x), high_bf16(q.x), low_bf16(q.y), high_bf16(q.y)),
               vec4<f32>(low_bf16(q.z), high_bf16(q.z), low_bf16(q.w), high_bf16(q.w)));
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
