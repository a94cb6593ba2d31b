// attention_step_io: operands and params of attention_step, and what it does with eight dimensions of a
// raw head: norm, rotation, sums over a team. Needs common.wgsl, weight.wgsl, kHeads and
// kLanes.
//:include reals
//:include attention_cell

struct Params {
  tokens: u32,
  heads: u32,
  kv_heads: u32,
  dim: u32,
  splits: u32,
  page_shift: u32,   // log2 of positions in a page
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
  recent_slots_offset: u32,  // of attention_cell
  k_recent: u32,
  v_recent: u32,
  unsplit_keys: u32,         // of attention_split
  split_keys: u32,
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

// a * by + c, rounded once.
fn plus_scaled(a: Eight, by: f32, c: Eight) -> Eight {
  return Eight(fma(a.lo, vec4<f32>(by), c.lo), fma(a.hi, vec4<f32>(by), c.hi));
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
  let b = times(other, by.other);
  return Eight(fma(own.lo, by.own.lo, b.lo), fma(own.hi, by.own.hi, b.hi));
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
//:end

// Eight dimensions from d on of the head at `source`, normalised and rotated; a team makes a head, in
// subgroup uniform control flow.
fn made_head(source: u32, d: u32, live: bool, key: bool, position: u32) -> Eight {
  let half_dim = params.dim / 2u;
  let partner = select(d + half_dim, d - half_dim, d >= half_dim);
  let own = x8(source + d);
  var other = partners(own, source, partner);
  var mine = own;
//:if WITH_NORM
  var squares = select(0.0, dot8(own, own), live);
  for (var width = 1u; width < kLanes; width *= 2u) {
    squares += subgroupShuffleXor(squares, width);
  }
  let factor = 1.0 / sqrt(squares / f32(params.dim) + params.eps);
  let weight = norm8(key, d);
  mine = times(mine, scaled(weight, factor));
  if (params.interleaved != 0u) {
    other = times(other, scaled(Eight(weight.lo.yxwz, weight.hi.yxwz), factor));
  } else {
    other = times(other, scaled(norm8(key, partner), factor));
  }
//:end
  return turned(mine, other, turn_at(position, d, live));
}

// The row of `slot` for a key/value head, in elements of the pages.
fn slot_row(slot: u32, kv_head: u32) -> u32 {
  let page = slot >> params.page_shift;
  let inside = slot & ((1u << params.page_shift) - 1u);
  return ((((page * params.kv_heads + kv_head) << params.page_shift) + inside)) * params.dim;
}

// Where a sequence's pages are listed, a key/value head, and what of its rows is a lane's.
struct Place {
  page_row: u32,
  kv_head: u32,
  team: u32,
  spot: Spot,
}

struct Range {
  begin: u32,
  end: u32,
}

// The row of a position, in elements of the cache or of its recent pages.
fn row_of(at: Place, position: u32, recent: bool) -> u32 {
  let entry = numbers[at.page_row + (position >> params.page_shift)];
  let page = select(entry, entry & 0x7fffffffu, recent);  // RecentPages::kFlag
  let inside = position & ((1u << params.page_shift) - 1u);
  return slot_row((page << params.page_shift) | inside, at.kv_head);
}

// Where recent pages begin: that of the new position and the one before are.
fn older_end(end: u32) -> u32 {
//:if RECENT
  let page = (max(end, 1u) - 1u) >> params.page_shift;
  return (max(page, 1u) - 1u) << params.page_shift;
//:else
  return end;
//:end
}

// Whose sums a lane of a team gets, and the first lane that gets those of a head.
fn head_of(lane: u32) -> u32 {
  return lane / (8u / kHeads) % kHeads;
}

fn lane_of(head: u32) -> u32 {
  return head * (8u / kHeads);
}

// Sums over the lanes of a team, one head a lane. Lanes 4, 2, 1, 8 and 16 apart add up in this order with any
// number of heads, so that it does not change a bit; as long as a lane has several heads it keeps half of
// them. Written out, because arrays that are indexed by more than constants leave the registers.
fn sum_heads(dots: array<f32, {{HEADS}}>, lane: u32) -> f32 {
  var four = vec4<f32>(dots[0], dots[min(1u, kLast)], dots[min(2u, kLast)], dots[min(3u, kLast)]);
  var width = 4u;
  if (kHeads == 8u) {
    let hi = vec4<f32>(dots[min(4u, kLast)], dots[min(5u, kLast)], dots[min(6u, kLast)], dots[kLast]);
    let upper = (lane & width) != 0u;
    four = select(four, hi, upper) + subgroupShuffleXor(select(hi, four, upper), width);
    width /= 2u;
  }
  var two = four.xy;
  if (kHeads >= 4u) {
    let upper = (lane & width) != 0u;
    two = select(four.xy, four.zw, upper) + subgroupShuffleXor(select(four.zw, four.xy, upper), width);
    width /= 2u;
  }
  var one = two.x;
  if (kHeads >= 2u) {
    let upper = (lane & width) != 0u;
    one = select(two.x, two.y, upper) + subgroupShuffleXor(select(two.y, two.x, upper), width);
    width /= 2u;
  }
  for (; width > 0u; width /= 2u) {
    one += subgroupShuffleXor(one, width);
  }
  for (width = 8u; width < kLanes; width *= 2u) {
    one += subgroupShuffleXor(one, width);
  }
  return one;
}
