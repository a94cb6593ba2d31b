// attention_decode: softmax attention of one token over an interval of a paged cache.
// Up to {{HEADS}} query heads of one key/value head share every load of a key or value; the interval
// may be cut into splits, whose unnormalised sums attention_merge joins (SPLIT).
// q: f32 [tokens, heads, dim]; k, v: F32, BF16 or Q8_16 (W_*) [pages, kv_heads, page, dim]; table: spans u32
// [tokens, 3] = first, end, sequence; pages u32 [sequences, max pages]. y: f32 [tokens, heads, dim],
// or under SPLIT the parts that attention_merge joins.
// HEADS * dim <= 1024, dim <= 256. Workgroup 256: 32 keys x 8 slices of a row for the scores, then
// pairs of dimensions x groups of keys for the values. Shared: at most 15.5 KiB.
// Scores far below the maximum count as exp(-80); no infinities. Empty intervals give zeros.
//:include common
//:include weight

struct Params {
  tokens: u32,
  heads: u32,
  kv_heads: u32,
  dim: u32,
  splits: u32,
  page: u32,
  max_pages: u32,
  scale: f32,
  q_offset: u32,
  q_token: u32,      // strides of q
  q_head: u32,
  k_offset: u32,
  k_page: u32,
  k_head: u32,
  k_slot: u32,
  v_offset: u32,
  v_page: u32,
  v_head: u32,
  v_slot: u32,
  spans_offset: u32,
  pages_offset: u32,
  y_offset: u32,
  y_token: u32,
  y_head: u32,
  k_recent: u32,     // of cache_rows
  v_recent: u32,
  unsplit_keys: u32, // of attention_split
  split_keys: u32,
}

@group(0) @binding(0) var<storage, read> q: array<f32>;
@group(0) @binding(1) var<storage, read> keys: array<{{W_TYPE}}>;
@group(0) @binding(2) var<storage, read> values: array<u32>;
@group(0) @binding(3) var<storage, read> spans: array<u32>;
@group(0) @binding(4) var<storage, read> pages: array<u32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;
@group(0) @binding(6) var<uniform> params: Params;

fn {{W_READ}}(which: u32, i: u32) -> {{W_TYPE}} {
  return keys[i];
}

//:include cache_rows
//:include value_pair
//:include attention_split

const kHeads = {{HEADS}}u;
const kKeys = 32u;
const kSlices = 8u;
const kLowest = -3.0e38;

var<workgroup> query: array<vec4<f32>, 256>;
var<workgroup> slices: array<f32, {{HEADS}} * 256 + 256>;  // [key][slice][head]; later the values' groups
var<workgroup> scores: array<f32, {{HEADS}} * 32>;
var<workgroup> shares: array<f32, {{HEADS}} * 32>;   // exp(score - maximum)
var<workgroup> fades: array<f32, {{HEADS}}>;         // what a new maximum leaves of older sums
var<workgroup> sums: array<f32, {{HEADS}}>;
var<workgroup> value_at: array<u32, 32>;

// q[from + d .. from + d + 4], zeros past the end of the head.
fn q4(source: u32, d: u32) -> vec4<f32> {
  var v = vec4<f32>(0.0);
  if (d < params.dim) { v.x = q[source + d]; }
  if (d + 1u < params.dim) { v.y = q[source + d + 1u]; }
  if (d + 2u < params.dim) { v.z = q[source + d + 2u]; }
  if (d + 3u < params.dim) { v.w = q[source + d + 3u]; }
  return v;
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>,
        @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let per_kv = params.heads / params.kv_heads;
  let chunks = (per_kv + kHeads - 1u) / kHeads;
  let count = params.tokens * params.kv_heads * chunks * params.splits;
  let number = workgroup_index(group, groups);
  let index = min(number, count - 1u);
  let split = index % params.splits;
  let chunk = index / params.splits % chunks;
  let kv_head = index / params.splits / chunks % params.kv_heads;
  let token = index / params.splits / chunks / params.kv_heads;
  let head0 = kv_head * per_kv + chunk * kHeads;
  let heads = min(kHeads, per_kv - chunk * kHeads);
  let span = params.spans_offset + token * 3u;
  let first = spans[span];
  let last = max(first, spans[span + 1u]);
  let page_row = params.pages_offset + spans[span + 2u] * params.max_pages;
  // Whole blocks of keys a split, the same for every head.
  let piece = piece_of(first, last, split, kKeys);
  let begin = piece.begin;
  let end = piece.end;

  // Rows of the queries in whole pieces of eight, zeros behind the last dimension.
  let pitch = (params.dim + 7u) / 8u * 2u;
  for (var i = thread; i < heads * pitch; i += 256u) {
    let source = params.q_offset + token * params.q_token + (head0 + i / pitch) * params.q_head;
    query[i] = params.scale * q4(source, i % pitch * 4u);
  }
  // Scores: thread = key * 8 + slice. Softmax: thread = head * 32 + key. Values: pair of dimensions
  // and group of keys.
  let key = thread / kSlices;
  let slice = thread % kSlices;
  let soft_head = min(thread / kKeys, kHeads - 1u);
  let soft_key = thread % kKeys;
  let pairs = (params.dim + 1u) / 2u;
  let key_groups = 256u / pairs;
  let pair = thread % pairs;
  let key_group = thread / pairs;
  var highest = kLowest;
  var sum = 0.0;
  var acc: array<vec2<f32>, {{HEADS}}>;
  for (var h = 0u; h < kHeads; h++) {
    acc[h] = vec2<f32>(0.0);
  }
  for (var at = begin; at < end; at += kKeys) {
    let position = min(at + key, end - 1u);
    let page = pages[page_row + position / params.page];
    let slot = position % params.page;
    let k_row = key_row(page, kv_head, slot);
    if (slice == 0u) {
      value_at[key] = value_row(page, kv_head, slot);
    }
    workgroupBarrier();
    var dots: array<f32, {{HEADS}}>;
    for (var h = 0u; h < kHeads; h++) {
      dots[h] = 0.0;
    }
    for (var i = slice * 8u; i < params.dim; i += kSlices * 8u) {
      let piece = cached8(0u, k_row, i);
      for (var h = 0u; h < heads; h++) {
        let at_query = h * pitch + i / 4u;
        dots[h] += dot8(piece, Eight(query[at_query], query[at_query + 1u]));
      }
    }
    for (var h = 0u; h < kHeads; h++) {
      slices[thread * kHeads + h] = dots[h];
    }
    workgroupBarrier();
    if (thread < kHeads * kKeys) {
      var score = 0.0;
      for (var i = 0u; i < kSlices; i++) {
        score += slices[(soft_key * kSlices + i) * kHeads + soft_head];
      }
      scores[thread] = select(kLowest, score, at + soft_key < end);
    }
    workgroupBarrier();
    if (thread < kHeads * kKeys) {
      var now = highest;
      for (var i = 0u; i < kKeys; i++) {
        now = max(now, scores[soft_head * kKeys + i]);
      }
      let fade = exp(max(highest - now, -80.0)) * select(0.0, 1.0, highest > kLowest);
      let part = select(0.0, exp(max(scores[thread] - now, -80.0)), at + soft_key < end);
      highest = now;
      sum = sum * fade + part;
      shares[thread] = part;
      if (soft_key == 0u) {
        fades[soft_head] = fade;
      }
    }
    workgroupBarrier();
    if (key_group < key_groups) {
      for (var h = 0u; h < kHeads; h++) {
        acc[h] *= fades[h];
      }
      for (var i = key_group; i < min(kKeys, end - at); i += key_groups) {
        let value = value_pair(value_at[i], pair * 2u, params.dim);
        for (var h = 0u; h < kHeads; h++) {
          acc[h] += shares[h * kKeys + i] * value;
        }
      }
    }
    workgroupBarrier();
  }
  if (thread < kHeads * kKeys) {
    scores[thread] = highest;
    shares[thread] = sum;
  }
  workgroupBarrier();
  if (thread < kHeads) {
    var total = 0.0;
    for (var i = 0u; i < kKeys; i++) {
      total += shares[thread * kKeys + i];
    }
    sums[thread] = total;
  }
  for (var h = 0u; h < kHeads; h++) {
    workgroupBarrier();
    if (key_group < key_groups) {
      slices[thread * 2u] = acc[h].x;
      slices[thread * 2u + 1u] = acc[h].y;
    }
    workgroupBarrier();
    if (thread < params.dim && h < heads && number < count) {
      var result = 0.0;
      for (var g = 0u; g < key_groups; g++) {
        result += slices[g * pairs * 2u + thread];
      }
//:if SPLIT
      let part = (token * params.heads + head0 + h) * params.splits + split;
      y[params.y_offset + part * params.dim + thread] = result;
      if (thread == 0u) {
        let stats = params.y_offset + 2u * part +
                    params.tokens * params.heads * params.splits * params.dim;
        y[stats] = scores[h * kKeys];
        y[stats + 1u] = sums[h];
      }
//:else
      y[params.y_offset + token * params.y_token + (head0 + h) * params.y_head + thread] =
        result * select(0.0, 1.0 / max(sums[h], 1.0e-30), sums[h] > 0.0);  // as attention_merge
//:end
    }
  }
}
