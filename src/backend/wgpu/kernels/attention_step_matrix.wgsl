// attention_step_matrix: attention_step of long contexts in BF16 on matrix cores. Operands, params and parts
// for attention_merge as there. Queries and shares count with two F16 terms each, which are rows h and h + 8
// of one product; keys and values with one, exact but for what is below 2^-14 or beyond 65504; scores,
// sums and maxima are F32. dim <= 128, up to eight query heads a key/value head.
// Workgroup 256 = 8 subgroups of 32: together they bring tiles of 64 keys and values, the next of which is on
// its way meanwhile; each makes the scores of sixteen keys over half of the dimensions, then the shares of
// a head, then sixteen dimensions of all heads. Shared: 45 KiB.
// Scores far below the maximum count as exp(-80); no infinities. Grid: linear.
//:include common
//:include weight
//:include attention_step_io

const kHeads = {{HEADS}}u;
const kLast = kHeads - 1u;
const kLanes = 16u;         // bring a row, eight dimensions each
const kTeams = 16u;
const kKeys = 64u;          // of a tile
const kFetches = 4u;        // rows of a tile that a team brings
const kLowest = -3.0e38;

const kTerm = 8u;           // rows from a head's first term to its second
const kPitch = 136u;        // of keys, values and queries, eight more than a row against bank conflicts
const kValues = 8704u;      // where they begin in `halves`; queries lie where keys do later
const kShares = 17408u;
const kSharePitch = 72u;
const kHalves = 18560u;
const kScorePitch = 68u;    // scores: [half of the dimensions][term, head][key]
const kHalfScores = 1088u;
const kSumPitch = 132u;     // then the sums of a tile's values: [term, head][dimension]
const kScores = 2176u;
const kNewValue = 32u;      // the new key, value and queries, in quads of `scores`
const kQueries = 64u;

//:include attention_split
//:include attention_task
//:include halves

// What a team brings of a tile: rows of keys or values as they lie in the cache.
alias Rows = array<Raw, 4>;

// Of the tile that begins at position `at`; the last position again past the end.
fn fetch_rows(rows: ptr<function, Rows>, which: u32, at: u32, end: u32, cached: Place) {
  for (var i = 0u; i < kFetches; i++) {
    let position = min(at + i * kTeams + cached.team, max(end, 1u) - 1u);
    (*rows)[i] = fetch(which, row_of(cached, position, false), cached.spot, false);
  }
}

fn put_rows(rows: ptr<function, Rows>, to: u32, cached: Place, lane: u32) {
  for (var i = 0u; i < kFetches; i++) {
    put8(to + (i * kTeams + cached.team) * kPitch + lane * 8u, unpacked((*rows)[i], cached.spot, false));
  }
}

fn put_quads(at: u32, v: Eight) {
  let quads = bufferView<array<vec4<f32>, kScores / 4u>>(&scores, 0u);
  quads[at] = v.lo;
  quads[at + 1u] = v.hi;
}

// Two scores of neighbouring keys, over all dimensions and both terms.
fn score_pair(at: u32) -> vec2<f32> {
  let pairs = bufferView<array<vec2<f32>, kScores / 2u>>(&scores, 0u);
  let low = kTerm * kScorePitch;
  return (pairs[at >> 1u] + pairs[(at + kHalfScores) >> 1u]) +
         (pairs[(at + low) >> 1u] + pairs[(at + kHalfScores + low) >> 1u]);
}

// The shares of two neighbouring keys as two terms.
fn put_pair(at: u32, v: vec2<f32>) {
  let words = bufferView<array<u32, kHalves / 2u>>(&halves, 0u);
  let first = pack2x16float(v);
  words[at >> 1u] = first;
  words[(at + kTerm * kSharePitch) >> 1u] = pack2x16float(v - unpack2x16float(first));
}

// What is left of v beyond its first F16 term.
fn rest_of(v: vec4<f32>) -> vec4<f32> {
  let within = clamp(v, vec4<f32>(-65504.0), vec4<f32>(65504.0));
  return within - vec4<f32>(unpack2x16float(pack2x16float(within.xy)),
                            unpack2x16float(pack2x16float(within.zw)));
}

fn scored(queries: Left, at: u32, sums: Result) -> Result {
  return subgroupMatrixMultiplyAccumulate(queries, turned_right_at(at, kPitch), sums);
}

fn weighed(keys_from: u32, d: u32, sums: Result) -> Result {
  return subgroupMatrixMultiplyAccumulate(left_at(kShares + keys_from, kSharePitch),
                                          right_at(kValues + keys_from * kPitch + d, kPitch), sums);
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>,
        @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(subgroup_id) warp: u32,
        @builtin(subgroup_invocation_id) place: u32) {
  let task = task_of(workgroup_index(group, groups), kKeys);
  let thread = warp * 32u + place;
  let team = thread / kLanes;
  let lane = place % kLanes;
  let live = lane * 8u < params.dim;
  let d = select(0u, lane * 8u, live);

  // The first keys are on their way while the heads are made.
  let cached = Place(task.page_row, task.kv_head, team, spot_of(d));
  var next_keys: Rows;
  var next_values: Rows;
  fetch_rows(&next_keys, 0u, task.begin, task.end, cached);
  fetch_rows(&next_values, 1u, task.begin, task.end, cached);

  let new_head = new_heads(task, team, d, live);
  if (team < kHeads) {
    let query = scaled(new_head.made, params.scale);
    put8(team * kPitch + lane * 8u, query);
    put_shares((team + kTerm) * kPitch + lane * 8u, rest_of(query.lo), rest_of(query.hi));
    put_quads(kQueries + (team * kLanes + lane) * 2u, query);
  }
  if (team == kHeads) {
    put_quads(2u * lane, new_head.kept);
  }
  if (team == kHeads + 1u) {
    put_quads(kNewValue + 2u * lane, scaled(new_head.kept, select(0.0, 1.0, live)));
  }
  workgroupBarrier();
  let q_at = warp / 4u * 64u;
  let q0 = left_at(q_at, kPitch);
  let q1 = left_at(q_at + 16u, kPitch);
  let q2 = left_at(q_at + 32u, kPitch);
  let q3 = left_at(q_at + 48u, kPitch);
  let query = score4(4u * (kQueries + warp * 32u + place));
  let new_score = subgroupAdd(dot(query, score4(4u * place)));
  // Of the subgroup's head; four dimensions a lane.
  var highest = select(kLowest, new_score, task.newest);
  var sum = select(0.0, 1.0, task.newest);
  var acc = sum * score4(4u * (kNewValue + place));
  workgroupBarrier();

  let side = warp / 4u;
  let corner = warp % 4u * 16u;
  let k_at = corner * kPitch + side * 64u;
  let d16 = warp * 16u;
  for (var at = task.begin; at < task.end; at += kKeys) {
    put_rows(&next_keys, 0u, cached, lane);
    put_rows(&next_values, kValues, cached, lane);
    workgroupBarrier();
    fetch_rows(&next_keys, 0u, at + kKeys, task.end, cached);
    fetch_rows(&next_values, 1u, at + kKeys, task.end, cached);
    var products = scored(q0, k_at, Result());
    products = scored(q1, k_at + 16u, products);
    products = scored(q2, k_at + 32u, products);
    products = scored(q3, k_at + 48u, products);
    store_result(side * kHalfScores + corner, products, kScorePitch);
    workgroupBarrier();
    let seen = vec2<u32>(at + 2u * place) + vec2<u32>(0u, 1u) < vec2<u32>(task.end);
    let pair = select(vec2<f32>(kLowest), score_pair(warp * kScorePitch + 2u * place), seen);
    let now = max(highest, subgroupMax(max(pair.x, pair.y)));
    let fade = select(0.0, exp(max(highest - now, -80.0)), highest > kLowest);
    let shares = select(vec2<f32>(0.0), exp(max(pair - now, vec2<f32>(-80.0))), seen);
    put_pair(kShares + warp * kSharePitch + 2u * place, shares);
    highest = now;
    sum = fma(sum, fade, subgroupAdd(shares.x + shares.y));
    workgroupBarrier();
    var mixed = weighed(0u, d16, Result());
    mixed = weighed(16u, d16, mixed);
    mixed = weighed(32u, d16, mixed);
    mixed = weighed(48u, d16, mixed);
    store_result(d16, mixed, kSumPitch);
    workgroupBarrier();
    let here = score4(warp * kSumPitch + 4u * place) + score4((warp + kTerm) * kSumPitch + 4u * place);
    acc = fma(acc, vec4<f32>(fade), here);
  }

  if (task.live && warp < task.heads && 4u * place < params.dim) {
    let part = (task.token * params.heads + task.first_head + warp) * params.splits + task.split;
    let row = params.y_offset + part * params.dim + 4u * place;
    y[row] = acc.x;
    y[row + 1u] = acc.y;
    y[row + 2u] = acc.z;
    y[row + 3u] = acc.w;
    if (place == 0u) {
      let stats = params.y_offset + params.tokens * params.heads * params.splits * params.dim + 2u * part;
      y[stats] = highest;
      y[stats + 1u] = sum;
    }
  }
}
