// attention_tiles: what the kernels share that let many tokens use tiles of keys and values: operands,
// params, and how rows, (token, query head) pairs of one key/value head numbered token by token, fall
// into runs of one sequence. Needs common.wgsl and weight.wgsl before it.

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
  unsplit_keys: u32, // of attention_decode
  split_keys: u32,
}

@group(0) @binding(0) var<storage, read> q: array<f32>;
@group(0) @binding(1) var<storage, read> keys: array<{{W_TYPE}}>;
@group(0) @binding(2) var<storage, read> values: array<{{W_TYPE}}>;
@group(0) @binding(3) var<storage, read> spans: array<u32>;
@group(0) @binding(4) var<storage, read> pages: array<u32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;
@group(0) @binding(6) var<uniform> params: Params;

fn {{W_READ}}(which: u32, i: u32) -> {{W_TYPE}} {
  if (which == 0u) {
    return keys[i];
  }
  return values[i];
}

//:include cache_rows

const kLowest = -3.0e38;

// Row `row` of a tile: its token, the last one again past the end.
fn token_of(first_row: u32, row: u32, per_kv: u32) -> u32 {
  return min((first_row + row) / per_kv, params.tokens - 1u);
}

// Tokens [run, after) belong to one sequence; [low, high) covers their intervals, all of which cover
// [sure_low, sure_high).
struct Run {
  after: u32,
  sequence: u32,
  low: u32,
  high: u32,
  sure_low: u32,
  sure_high: u32,
}

fn run_from(run: u32, last_token: u32) -> Run {
  var found = Run(run, spans[params.spans_offset + run * 3u + 2u], 0xffffffffu, 0u, 0u, 0xffffffffu);
  while (found.after <= last_token &&
         spans[params.spans_offset + found.after * 3u + 2u] == found.sequence) {
    let begin = spans[params.spans_offset + found.after * 3u];
    let end = spans[params.spans_offset + found.after * 3u + 1u];
    if (begin < end) {
      found.low = min(found.low, begin);
      found.high = max(found.high, end);
    }
    found.sure_low = max(found.sure_low, begin);
    found.sure_high = min(found.sure_high, end);
    found.after += 1u;
  }
  return found;
}
