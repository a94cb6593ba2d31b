// attention_step: attention of a decode step, one new token a sequence, in one dispatch: RMSNorm of
// each query and key head (WITH_NORM), rotary embedding, the new key and value into the paged cache,
// softmax over an interval of positions whose last one is the new token's.
// x: f32, queries [tokens, heads, dim], keys and values [tokens, kv_heads, dim] at three offsets;
// numbers: u32, positions and slots [tokens], spans [tokens, 3] = first, end, sequence, pages
// [sequences, max pages]; tables: f32 cosines and sines [positions, dim / 2]; norm weights [dim] of
// any float type; keys, values: F32, BF16 or Q8_16 (W_*) [pages, kv_heads, page, dim]; RECENT: of Q8_16, and
// the pages of the new position and the one before it also in F16, see attention_cell. y: f32 [tokens,
// heads, dim], or under SPLIT the parts that attention_merge joins.
// Everything begins at multiples of eight elements (x and tables: four); dim <= 8 LANES, a multiple of
// 8, of 16 unless interleaved, of 32 with Q8_16.
// Workgroup 256: {{LANES}} lanes, a team, share a key, eight dimensions each, for {{HEADS}} query heads
// (1, 2, 4 or 8) of one key/value head; teams take keys in turn. Needs subgroups of at least a team.
// Every workgroup makes its queries, and its key if it sees the new position: a team each, passed on
// through workgroup memory. Only one workgroup writes the new key and value, none reads them back.
// Shared: at most 18 KiB. Scores far below the maximum count as exp(-80); no infinities.
//:include common
//:include weight
//:include attention_step_io

const kHeads = {{HEADS}}u;
const kLast = kHeads - 1u;
const kLanes = {{LANES}}u;
const kAhead = {{AHEAD}}u;  // keys that a team fetches while it works on as many others
const kSubgroup = {{SUBGROUP_SIZE}};
const kTeams = 256u / kLanes;
const kPair = 4u * kLanes;  // of two heads: lanes x halves
const kLowest = -3.0e38;

//:include attention_split
//:include attention_task
//:include attention_walk

var<workgroup> tops: array<f32, kTeams * kHeads>;
var<workgroup> sums: array<f32, kTeams * kHeads>;
// The queries and the new key, [head][lane][half]; later sums, [subgroup][one of two heads][lane][half].
var<workgroup> pool: array<vec4<f32>, 256u / kSubgroup * kPair>;

// The largest score of head h among all teams.
fn top_of(h: u32) -> f32 {
  var top = kLowest;
  for (var t = 0u; t < kTeams; t++) {
    top = max(top, tops[t * kHeads + h]);
  }
  return top;
}

// Where a workgroup's results go.
struct Target {
  heads: u32,  // that exist
  row: u32,
  head_step: u32,
  stats: u32,  // under SPLIT
}

// Adds the subgroups' sums of heads h and h + 1 up and stores them.
fn join(h: u32, a: Eight, b: Eight, warp: u32, place: u32, thread: u32, to: Target) {
  workgroupBarrier();
  if (place < kLanes) {
    let at = warp * kPair + 2u * place;
    pool[at] = a.lo;
    pool[at + 1u] = a.hi;
    pool[at + 2u * kLanes] = b.lo;
    pool[at + 2u * kLanes + 1u] = b.hi;
  }
  workgroupBarrier();
  let mine = h + thread / (2u * kLanes);
  let d = thread % (2u * kLanes) * 4u;
  if (thread < kPair && mine < to.heads && d < params.dim) {
    var result = vec4<f32>(0.0);
    for (var w = 0u; w < 256u / kSubgroup; w++) {
      result += pool[w * kPair + thread];
    }
    var total = 0.0;
    for (var t = 0u; t < kTeams; t++) {
      total += sums[t * kHeads + mine];
    }
//:if SPLIT
    if (d == 0u) {
      y[to.stats + mine * params.splits * 2u] = top_of(mine);
      y[to.stats + mine * params.splits * 2u + 1u] = total;
    }
//:else
    // As attention_merge does, so that one split is the same as none.
    result *= select(0.0, 1.0 / max(total, 1.0e-30), total > 0.0);
//:end
    let row = to.row + mine * to.head_step + d;
    y[row] = result.x;
    y[row + 1u] = result.y;
    y[row + 2u] = result.z;
    y[row + 3u] = result.w;
  }
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>,
        @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(subgroup_id) warp: u32,
        @builtin(subgroup_invocation_id) place: u32) {
  let task = task_of(workgroup_index(group, groups), kTeams);
  let thread = warp * kSubgroup + place;
  let team = thread / kLanes;
  let lane = place % kLanes;
  let base = place - lane;
  let live = lane * 8u < params.dim;
  let d = select(0u, lane * 8u, live);

  // The first keys are on their way while the heads are made.
  let cached = Place(task.page_row, task.kv_head, team, spot_of(d));
  let older = older_keys(task);
  let newer = newer_keys(task);
  var ahead: Ahead;
//:if RECENT
  if (older.begin < older.end) {
    fetch_ahead(&ahead, older.begin, older, cached, false);
  } else {
    fetch_ahead(&ahead, newer.begin, newer, cached, true);
  }
//:else
  fetch_ahead(&ahead, older.begin, older, cached, false);
//:end

  let new_head = new_heads(task, team, d, live);
  let made = new_head.made;
  let kept = new_head.kept;
  if (team < kHeads) {
    pool[(team * kLanes + lane) * 2u] = params.scale * made.lo;
    pool[(team * kLanes + lane) * 2u + 1u] = params.scale * made.hi;
  }
  if (team == kHeads) {
    pool[(kHeads * kLanes + lane) * 2u] = kept.lo;
    pool[(kHeads * kLanes + lane) * 2u + 1u] = kept.hi;
  }
  workgroupBarrier();
  var query: array<Eight, {{HEADS}}>;
  for (var h = 0u; h < kHeads; h++) {
    query[h] = Eight(pool[(h * kLanes + lane) * 2u], pool[(h * kLanes + lane) * 2u + 1u]);
  }

  // The first team begins with the new position.
  let starts = task.newest && team == 0u;
  let new_key = Eight(pool[(kHeads * kLanes + lane) * 2u], pool[(kHeads * kLanes + lane) * 2u + 1u]);
  var dots: array<f32, {{HEADS}}>;
  for (var h = 0u; h < kHeads; h++) {
    dots[h] = dot8(new_key, query[h]);
  }
  let new_score = sum_heads(dots, lane);
  var so_far: Sums;
  so_far.highest = select(kLowest, new_score, starts);
  so_far.sum = select(0.0, 1.0, starts);
  for (var h = 0u; h < kHeads; h++) {
    so_far.acc[h] = scaled(kept, so_far.sum);
  }
//:if RECENT
  if (older.begin < older.end) {
    walk(older, cached, false, &query, &ahead, &so_far, lane, base);
    fetch_ahead(&ahead, newer.begin, newer, cached, true);
  }
  walk(newer, cached, true, &query, &ahead, &so_far, lane, base);
//:else
  walk(older, cached, false, &query, &ahead, &so_far, lane, base);
//:end
  let highest = so_far.highest;
  let sum = so_far.sum;

  // Teams agree on a maximum; those of a subgroup add up in registers, the rest through `pool`.
  let head = head_of(lane);
  let keeps = lane == lane_of(head);
  if (keeps) {
    tops[team * kHeads + head] = highest;
  }
  workgroupBarrier();
  let fade = select(0.0, exp(max(highest - top_of(head), -80.0)), highest > kLowest);
  if (keeps) {
    sums[team * kHeads + head] = sum * fade;
  }
  for (var h = 0u; h < kHeads; h++) {
    var all = scaled(so_far.acc[h], subgroupShuffle(fade, base + lane_of(h)));
    for (var width = kLanes; width < kSubgroup; width *= 2u) {
      all.lo += subgroupShuffleXor(all.lo, width);
      all.hi += subgroupShuffleXor(all.hi, width);
    }
    so_far.acc[h] = all;
  }
  var to = Target(select(0u, task.heads, task.live), params.y_offset, params.y_head, 0u);
//:if SPLIT
  let part = (task.token * params.heads + task.first_head) * params.splits + task.split;
  to.row += part * params.dim;
  to.head_step = params.splits * params.dim;
  to.stats = params.y_offset + params.tokens * params.heads * params.splits * params.dim + 2u * part;
//:else
  to.row += task.token * params.y_token + task.first_head * params.y_head;
//:end
  join(0u, so_far.acc[0], so_far.acc[min(1u, kLast)], warp, place, thread, to);
  if (kHeads > 2u) {
    join(2u, so_far.acc[min(2u, kLast)], so_far.acc[min(3u, kLast)], warp, place, thread, to);
  }
  if (kHeads > 4u) {
    join(4u, so_far.acc[min(4u, kLast)], so_far.acc[min(5u, kLast)], warp, place, thread, to);
    join(6u, so_far.acc[min(6u, kLast)], so_far.acc[min(7u, kLast)], warp, place, thread, to);
  }
}
