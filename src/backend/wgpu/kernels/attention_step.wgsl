// attention_step: attention of a decode step, one new token a sequence, in one dispatch: RMSNorm of
// each query and key head (WITH_NORM), rotary embedding, the new key and value into the paged cache,
// softmax over an interval of positions whose last one is the new token's.
// x: f32, queries [tokens, heads, dim], keys and values [tokens, kv_heads, dim] at three offsets;
// numbers: u32, positions and slots [tokens], spans [tokens, 3] = first, end, sequence, pages
// [sequences, max pages]; tables: f32 cosines and sines [positions, dim / 2]; norm weights [dim] of
// any float type; keys, values: F32, BF16 or Q8_0 (W_*) [pages, kv_heads, page, dim]. y: f32 [tokens,
// heads, dim], or under SPLIT the parts that attention_merge joins.
// Everything begins at multiples of eight elements (x and tables: four); dim <= 8 LANES, a multiple of
// 8, of 16 unless interleaved, of 64 with Q8_0.
// Workgroup 256: {{LANES}} lanes, a team, share a key, eight dimensions each, for {{HEADS}} query heads
// of one key/value head; teams take keys in turn. Needs subgroups of at least a team.
// Every workgroup that sees the new position makes its key itself; only one of them writes it, none
// reads it back. Shared: at most 10 KiB. Scores far below the maximum count as exp(-80); no infinities.
//:include common
//:include weight
//:include attention_step_io

const kHeads = {{HEADS}}u;
const kLanes = {{LANES}}u;
const kSubgroup = {{SUBGROUP_SIZE}};
const kTeams = 256u / kLanes;
const kAhead = {{AHEAD}}u;  // keys that a team loads before it uses the first
const kRound = min(kHeads, kSubgroup / kLanes);  // heads that fit into `pool` at once
const kLowest = -3.0e38;
//:if W_BLOCKS
const kUnit = 32u;  // elements in what weight8 counts rows by
//:else
const kUnit = 1u;
//:end

var<workgroup> tops: array<f32, kTeams * kHeads>;
var<workgroup> sums: array<f32, kTeams * kHeads>;
var<workgroup> pool: array<vec4<f32>, 512>;  // [subgroup][head of the round][lane][half]

// The largest score of head h among all teams.
fn top_of(h: u32) -> f32 {
  var top = kLowest;
  for (var t = 0u; t < kTeams; t++) {
    top = max(top, tops[t * kHeads + h]);
  }
  return top;
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>,
        @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(subgroup_id) warp: u32,
        @builtin(subgroup_invocation_id) place: u32) {
  let per_kv = params.heads / params.kv_heads;
  let chunks = (per_kv + kHeads - 1u) / kHeads;
  let count = params.tokens * params.kv_heads * chunks * params.splits;
  let number = workgroup_index(group, groups);
  let index = min(number, count - 1u);
  let split = index % params.splits;
  let chunk = index / params.splits % chunks;
  let kv_head = index / params.splits / chunks % params.kv_heads;
  let token = index / params.splits / chunks / params.kv_heads;
  let heads = min(kHeads, per_kv - chunk * kHeads);
  let first = numbers[params.spans_offset + token * 3u];
  let last = max(first, numbers[params.spans_offset + token * 3u + 1u]);
  let page_row = params.pages_offset +
                 numbers[params.spans_offset + token * 3u + 2u] * params.max_pages;
  let share = ((last - first + params.splits - 1u) / params.splits + kTeams - 1u) / kTeams * kTeams;
  let begin = min(last, first + split * share);
  let end = min(last, begin + share);
  let newest = end == last && begin < end;
  let old_end = select(end, end - 1u, newest);

  let thread = warp * kSubgroup + place;
  let team = thread / kLanes;
  let lane = place % kLanes;
  let base = place - lane;
  let live = lane * 8u < params.dim;
  let d = select(0u, lane * 8u, live);
  let half_dim = params.dim / 2u;
  let partner = select(d + half_dim, d - half_dim, d >= half_dim);

  let turn = turn_at(numbers[params.positions_offset + token], d, live);
//:if WITH_NORM
  let q_turn = weighted(turn, false, d, partner);
//:else
  let q_turn = turn;
//:end
  var query_lo: array<vec4<f32>, {{HEADS}}>;
  var query_hi: array<vec4<f32>, {{HEADS}}>;
  var dots: array<f32, {{HEADS}}>;
  for (var h = 0u; h < kHeads; h++) {
    let head = kv_head * per_kv + chunk * kHeads + min(h, heads - 1u);
    let source = params.q_offset + token * params.q_token + head * params.q_head;
    let own = x8(source + d);
    let q = scaled(turned(own, partners(own, source, partner), q_turn), params.scale);
    query_lo[h] = q.lo;
    query_hi[h] = q.hi;
    dots[h] = select(0.0, dot8(own, own), live);
  }
//:if WITH_NORM
  let factor = norm_factor(sum_heads(dots, lane));
  for (var h = 0u; h < kHeads; h++) {
    let by = subgroupShuffle(factor, base + h);
    query_lo[h] *= by;
    query_hi[h] *= by;
  }
//:end

  // Lane i keeps the maximum and the denominator of head i % kHeads, each team its own.
  var highest = kLowest;
  var sum = 0.0;
  var acc_lo: array<vec4<f32>, {{HEADS}}>;
  var acc_hi: array<vec4<f32>, {{HEADS}}>;
  for (var h = 0u; h < kHeads; h++) {
    acc_lo[h] = vec4<f32>(0.0);
    acc_hi[h] = vec4<f32>(0.0);
  }
  let writes = chunk == 0u && (newest || (first == last && split == 0u));
  if (newest || writes) {
    let source = params.k_offset + token * params.k_token + kv_head * params.k_head;
    let own = x8(source + d);
//:if WITH_NORM
    var squares = select(0.0, dot8(own, own), live);
    for (var width = 1u; width < kLanes; width *= 2u) {
      squares += subgroupShuffleXor(squares, width);
    }
    let turned_key = scaled(turned(own, partners(own, source, partner),
                                   weighted(turn, true, d, partner)), norm_factor(squares));
//:else
    let turned_key = turned(own, partners(own, source, partner), turn);
//:end
    let slot = numbers[params.slots_offset + token];
    let write = writes && live && team == 0u && number < count &&
                slot / params.page < params.cache_pages;
    let at = ((slot / params.page * params.kv_heads + kv_head) * params.page + slot % params.page) *
             params.dim + d;
    let key = keep(0u, params.k_cache_offset + at, turned_key, write);
    let value = keep(1u, params.v_cache_offset + at,
                     x8(params.v_offset + token * params.v_token + kv_head * params.v_head + d),
                     write);
    for (var h = 0u; h < kHeads; h++) {
      dots[h] = dot8(key, Eight(query_lo[h], query_hi[h]));
    }
    let score = sum_heads(dots, lane);
    if (newest && team == 0u) {
      highest = score;
      sum = 1.0;
      for (var h = 0u; h < kHeads; h++) {
        acc_lo[h] = value.lo;
        acc_hi[h] = value.hi;
      }
    }
  }
  for (var at = begin; at < old_end; at += kTeams * kAhead) {
    var key: array<Eight, {{AHEAD}}>;
    var value: array<Eight, {{AHEAD}}>;
    for (var i = 0u; i < kAhead; i++) {
      let position = min(at + i * kTeams + team, old_end - 1u);
      let page = numbers[page_row + position / params.page];
      let row = ((page * params.kv_heads + kv_head) * params.page + position % params.page) *
                params.dim;
      key[i] = weight8(0u, (params.k_cache_offset + row) / kUnit, d, params.dim);
      value[i] = weight8(1u, (params.v_cache_offset + row) / kUnit, d, params.dim);
    }
    var scores: array<f32, {{AHEAD}}>;
    var now = highest;
    for (var i = 0u; i < kAhead; i++) {
      for (var h = 0u; h < kHeads; h++) {
        dots[h] = dot8(key[i], Eight(query_lo[h], query_hi[h]));
      }
      let score = sum_heads(dots, lane);
      scores[i] = select(kLowest, score, at + i * kTeams + team < old_end);
      now = max(now, scores[i]);
    }
    let fade = select(0.0, exp(max(highest - now, -80.0)), highest > kLowest);
    highest = now;
    sum *= fade;
    for (var i = 0u; i < kAhead; i++) {
      scores[i] = select(0.0, exp(max(scores[i] - now, -80.0)),
                         at + i * kTeams + team < old_end);
      sum += scores[i];
    }
    for (var h = 0u; h < kHeads; h++) {
      let by = subgroupShuffle(fade, base + h);
      var lo = acc_lo[h] * by;
      var hi = acc_hi[h] * by;
      for (var i = 0u; i < kAhead; i++) {
        let part = subgroupShuffle(scores[i], base + h);
        lo += part * value[i].lo;
        hi += part * value[i].hi;
      }
      acc_lo[h] = lo;
      acc_hi[h] = hi;
    }
  }

  // Teams agree on a maximum; those of a subgroup add up in registers, the rest through `pool`.
  if (lane < kHeads) {
    tops[team * kHeads + lane] = highest;
  }
  workgroupBarrier();
  let fade = select(0.0, exp(max(highest - top_of(lane % kHeads), -80.0)), highest > kLowest);
  if (lane < kHeads) {
    sums[team * kHeads + lane] = sum * fade;
  }
  for (var h = 0u; h < kHeads; h++) {
    let by = subgroupShuffle(fade, base + h);
    acc_lo[h] *= by;
    acc_hi[h] *= by;
    for (var width = kLanes; width < kSubgroup; width *= 2u) {
      acc_lo[h] += subgroupShuffleXor(acc_lo[h], width);
      acc_hi[h] += subgroupShuffleXor(acc_hi[h], width);
    }
  }
  for (var h0 = 0u; h0 < kHeads; h0 += kRound) {
    workgroupBarrier();
    for (var r = 0u; r < kRound; r++) {
      if (place < kLanes) {
        pool[((warp * kRound + r) * kLanes + lane) * 2u] = acc_lo[h0 + r];
        pool[((warp * kRound + r) * kLanes + lane) * 2u + 1u] = acc_hi[h0 + r];
      }
    }
    workgroupBarrier();
    let h = h0 + thread / (2u * kLanes);
    let to = thread % (2u * kLanes) * 4u;
    if (h < min(heads, h0 + kRound) && to < params.dim && number < count) {
      var result = vec4<f32>(0.0);
      for (var w = 0u; w < 256u / kSubgroup; w++) {
        result += pool[w * kRound * kLanes * 2u + thread];
      }
      var total = 0.0;
      for (var t = 0u; t < kTeams; t++) {
        total += sums[t * kHeads + h];
      }
      let head = kv_head * per_kv + chunk * kHeads + h;
//:if SPLIT
      let row = params.y_offset +
                ((token * params.heads + head) * params.splits + split) * (params.dim + 2u);
      if (to == 0u) {
        y[row + params.dim] = top_of(h);
        y[row + params.dim + 1u] = total;
      }
//:else
      let row = params.y_offset + token * params.y_token + head * params.y_head;
      result = select(vec4<f32>(0.0), result / max(total, 1.0e-30), total > 0.0);
//:end
      y[row + to] = result.x;
      y[row + to + 1u] = result.y;
      y[row + to + 2u] = result.z;
      y[row + to + 3u] = result.w;
    }
  }
}
