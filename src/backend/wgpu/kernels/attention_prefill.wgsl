// attention_prefill: attention_decode for many tokens: 32 rows, (token, query head) pairs of one
// key/value head, share every tile of 32 keys and values.
// Operands and params as in attention_decode; splits is 1. Rows of a tile are numbered token by token;
// tokens of one sequence that follow each other are worked off together, each row with its interval.
// dim <= 256, in slices of 32. Workgroup 256. Scores: 1 x 4 a thread; values: {{SLICES}} x 4 results a
// thread. Shared: 13.2 KiB. Scores far below the maximum count as exp(-80); no infinities.
// Sums in F32. Grid: linear over tiles and key/value heads.
//:include common
//:include weight
//:include attention_tiles

const kSlices = {{SLICES}}u;
const kPitch = 9u;  // vec4 a row of 32, one more against bank conflicts

var<workgroup> tile_q: array<vec4<f32>, 288>;   // [row][slice of 32 dimensions]
var<workgroup> tile_kv: array<vec4<f32>, 288>;  // [key][slice of 32 dimensions]
var<workgroup> shares: array<f32, 1056>;        // [row][key], rows padded to 33

fn q4(at: u32, d: u32) -> vec4<f32> {
  var v = vec4<f32>(0.0);
  if (d < params.dim) { v.x = q[at + d]; }
  if (d + 1u < params.dim) { v.y = q[at + d + 1u]; }
  if (d + 2u < params.dim) { v.z = q[at + d + 2u]; }
  if (d + 3u < params.dim) { v.w = q[at + d + 3u]; }
  return v;
}

// Eight dimensions of one key (which 0) or value (which 1) to the tile, zeros past the end.
fn stage_kv(which: u32, page: u32, slot: u32, kv_head: u32, key: u32, piece: u32, d: u32) {
  var value = Eight(vec4<f32>(0.0), vec4<f32>(0.0));
  if (d < params.dim) {
    if (which == 0u) {
      value = cached8(0u, key_row(page, kv_head, slot), d);
    } else {
      value = cached8(1u, value_row(page, kv_head, slot), d);
    }
  }
  tile_kv[key * kPitch + piece * 2u] = value.lo;
  tile_kv[key * kPitch + piece * 2u + 1u] = value.hi;
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>,
        @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let per_kv = params.heads / params.kv_heads;
  let rows = params.tokens * per_kv;
  let tiles = (rows + 31u) / 32u;
  let index = workgroup_index(group, groups);
  let kv_head = min(index / tiles, params.kv_heads - 1u);
  let first_row = index % tiles * 32u;
  let last_token = token_of(first_row, 31u, per_kv);
  // A row is shared by eight threads: scores of keys column + 8 i, dimensions 4 column + 32 slice.
  let row = thread >> 3u;
  let column = thread & 7u;
  let live = first_row + row < rows && index < tiles * params.kv_heads;
  let token = token_of(first_row, row, per_kv);
  let head = kv_head * per_kv + min(first_row + row, rows - 1u) % per_kv;
  let begin = spans[params.spans_offset + token * 3u];
  let end = max(begin, spans[params.spans_offset + token * 3u + 1u]);
  var highest = kLowest;
  var sum = 0.0;
  var acc: array<vec4<f32>, {{SLICES}}>;
  for (var s = 0u; s < kSlices; s++) {
    acc[s] = vec4<f32>(0.0);
  }
  var run = token_of(first_row, 0u, per_kv);
  while (run <= last_token) {
    let here = run_from(run, last_token);
    let mine = token >= run && token < here.after;
    let page_row = params.pages_offset + here.sequence * params.max_pages;
    for (var at = here.low; at < here.high; at += 32u) {
      // Staging: thread = key * 4 + piece for 128 threads, the others bring the queries.
      let key = (thread & 127u) >> 2u;
      let piece = thread & 3u;
      let position = min(at + key, here.high - 1u);
      let page = pages[page_row + position / params.page];
      let slot = position % params.page;
      var scores = vec4<f32>(0.0);
      for (var s = 0u; s < kSlices; s++) {
        let d = s * 32u + piece * 8u;
        if (thread < 128u) {
          stage_kv(0u, page, slot, kv_head, key, piece, d);
        } else {
          let other = token_of(first_row, key, per_kv);
          let other_head = kv_head * per_kv + min(first_row + key, rows - 1u) % per_kv;
          let start = params.q_offset + other * params.q_token + other_head * params.q_head;
          tile_q[key * kPitch + piece * 2u] = params.scale * q4(start, d);
          tile_q[key * kPitch + piece * 2u + 1u] = params.scale * q4(start, d + 4u);
        }
        workgroupBarrier();
        for (var i = 0u; i < 8u; i++) {
          let a = tile_q[row * kPitch + i];
          scores += vec4<f32>(dot(a, tile_kv[column * kPitch + i]),
                              dot(a, tile_kv[(column + 8u) * kPitch + i]),
                              dot(a, tile_kv[(column + 16u) * kPitch + i]),
                              dot(a, tile_kv[(column + 24u) * kPitch + i]));
        }
        workgroupBarrier();
      }
      let places = vec4<u32>(at + column, at + column + 8u, at + column + 16u, at + column + 24u);
      let seen = (places >= vec4<u32>(begin)) & (places < vec4<u32>(end)) & vec4<bool>(mine);
      scores = select(vec4<f32>(kLowest), scores, seen);
      for (var i = 0u; i < 4u; i++) {
        shares[row * 33u + column + 8u * i] = scores[i];
      }
      workgroupBarrier();
      var now = highest;
      for (var i = 0u; i < 32u; i++) {
        now = max(now, shares[row * 33u + i]);
      }
      workgroupBarrier();
      let fade = select(0.0, exp(max(highest - now, -80.0)), highest > kLowest);
      let parts = select(vec4<f32>(0.0), exp(max(scores - now, vec4<f32>(-80.0))), seen);
      highest = now;
      sum = sum * fade + parts.x + parts.y + parts.z + parts.w;
      for (var i = 0u; i < 4u; i++) {
        shares[row * 33u + column + 8u * i] = parts[i];
      }
      for (var s = 0u; s < kSlices; s++) {
        if (thread < 128u) {
          stage_kv(1u, page, slot, kv_head, key, piece, s * 32u + piece * 8u);
        }
        workgroupBarrier();
        var total = acc[s] * fade;
        for (var i = 0u; i < 32u; i++) {
          total += shares[row * 33u + i] * tile_kv[i * kPitch + column];
        }
        acc[s] = total;
        workgroupBarrier();
      }
    }
    run = here.after;
  }
  // The eight threads of a row hold parts of its denominator.
  shares[row * 33u + column] = sum;
  workgroupBarrier();
  var denominator = 0.0;
  for (var i = 0u; i < 8u; i++) {
    denominator += shares[row * 33u + i];
  }
  if (live) {
    let to = params.y_offset + token * params.y_token + head * params.y_head;
    for (var s = 0u; s < kSlices; s++) {
      let result = select(vec4<f32>(0.0), acc[s] / max(denominator, 1.0e-30), denominator > 0.0);
      let d = s * 32u + column * 4u;
      for (var i = 0u; i < 4u; i++) {
        if (d + i < params.dim) {
          y[to + d + i] = result[i];
        }
      }
    }
  }
}
