// attention_task: which token, heads and keys a workgroup of attention_step has, and the new query, key and
// value heads that it makes. Needs attention_step_io.wgsl, attention_split.wgsl, kHeads.

struct Task {
  live: bool,        // whether it exists: the grid may be larger
  token: u32,
  kv_head: u32,
  first_head: u32,
  heads: u32,        // up to kHeads
  split: u32,
  page_row: u32,
  begin: u32,        // of its keys, those in the cache alone
  end: u32,
  older_end: u32,    // from here on they lie in recent pages
  newest: bool,      // whether the new position comes after them
  writes: bool,      // whether it writes the new key and value
}

// Pieces of its sequence are multiples of `unit` keys.
fn task_of(number: u32, unit: u32) -> Task {
  let per_kv = params.heads / params.kv_heads;
  let chunks = (per_kv + kHeads - 1u) / kHeads;
  let count = params.tokens * params.kv_heads * chunks * params.splits;
  let index = min(number, count - 1u);
  var task: Task;
  task.live = number < count;
  task.split = index % params.splits;
  let chunk = index / params.splits % chunks;
  task.kv_head = index / params.splits / chunks % params.kv_heads;
  task.token = index / params.splits / chunks / params.kv_heads;
  task.heads = min(kHeads, per_kv - chunk * kHeads);
  task.first_head = task.kv_head * per_kv + chunk * kHeads;
  let span = params.spans_offset + task.token * 3u;
  let first = numbers[span];
  let last = max(first, numbers[span + 1u]);
  task.page_row = params.pages_offset + numbers[span + 2u] * params.max_pages;
  let piece = piece_of(first, last, task.split, unit);
  task.newest = piece.end == last && piece.begin < piece.end;
  task.begin = piece.begin;
  task.end = select(piece.end, piece.end - 1u, task.newest);
  task.older_end = min(task.end, older_end(last));
  task.writes = chunk == 0u && (task.newest || (first == last && task.split == 0u));
  return task;
}

fn older_keys(task: Task) -> Range {
  return Range(task.begin, task.older_end);
}

fn newer_keys(task: Task) -> Range {
  return Range(max(task.begin, task.older_end), task.end);
}

// Eight dimensions of what a team makes: team h query h, the team after them the key, which it keeps; the
// others keep the value, as the first begins with it, and one of them writes it.
struct New {
  made: Eight,   // a query or the key
  kept: Eight,   // the key or the value as the cache holds it
}

fn new_heads(task: Task, team: u32, d: u32, live: bool) -> New {
  let is_key = team == kHeads;
  let slot = numbers[params.slots_offset + task.token];
  let write = task.writes && live && (is_key || team == kHeads + 1u) && task.live &&
              (slot >> params.page_shift) < params.cache_pages;
  let row = slot_row(slot, task.kv_head) + d;
  var recent_row = 0u;
//:if RECENT
  recent_row = slot_row(numbers[params.recent_slots_offset + task.token], task.kv_head) + d;
//:end
  let query_at = params.q_offset + task.token * params.q_token +
                 (task.first_head + min(team, task.heads - 1u)) * params.q_head;
  let key_at = params.k_offset + task.token * params.k_token + task.kv_head * params.k_head;
  let made = made_head(select(query_at, key_at, is_key), d, live, is_key,
                       numbers[params.positions_offset + task.token]);
  let value = x8(params.v_offset + task.token * params.v_token + task.kv_head * params.v_head + d);
  let own = Eight(select(value.lo, made.lo, is_key), select(value.hi, made.hi, is_key));
  return New(made, keep(select(1u, 0u, is_key), row, recent_row, own, write));
}
