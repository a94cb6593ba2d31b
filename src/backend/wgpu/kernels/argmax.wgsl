// argmax: index of the largest (LEAST: smallest) element of chunk c of row r, the first of equals, one
// workgroup of 256 a chunk. PAIRS_OUT: y gets (key, index) for each chunk, [rows, chunks, 2]; PAIRS_IN:
// x holds such pairs; otherwise y gets the index, 2^32 - 1 if the row holds a NaN.
// x: F32, F16 or BF16 of any strides, as words. Compares integer keys: exact, infinities too.
// Shared: 2 KiB.
//:include common
//:include ordered

struct Params {
  sizes: Six,
  x_strides: Six,
  y_strides: Six,
  rank: u32,
  rows: u32,
  cols: u32,
  chunk: u32,
  chunks: u32,
  x_offset: u32,
  x_stride: u32,
  x_kind: u32,
  y_offset: u32,
}

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read_write> y: array<u32>;
@group(0) @binding(2) var<uniform> params: Params;

var<workgroup> keys: array<u32, 256>;
var<workgroup> places: array<u32, 256>;

// Candidate i of the row that begins at `from`: its key and its index in the whole row.
fn candidate(base: u32, i: u32) -> vec2<u32> {
//:if PAIRS_IN
  let at = base + 2u * i;
  return vec2<u32>(x[at], x[at + 1u]);
//:else
  let at = base + i * params.x_stride;
  let key = key_of(f32_bits(params.x_kind, x[word_index(params.x_kind, at)], at));
//:if LEAST
  return vec2<u32>(reversed_key(key), i);
//:else
  return vec2<u32>(key, i);
//:end
//:end
}

fn better(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  return select(a, b, b.x > a.x || (b.x == a.x && b.y < a.y));
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>,
        @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let number = workgroup_index(group, groups);
  let row = min(number / params.chunks, params.rows - 1u);
  let c = number % params.chunks;
  let base = params.x_offset + strided(row, params.sizes, params.x_strides, params.rank);
  let end = min(params.cols, (c + 1u) * params.chunk);
  var best = vec2<u32>(0u, 0xffffffffu);
  for (var i = c * params.chunk + thread; i < end; i += 256u) {
    best = better(best, candidate(base, i));
  }
  keys[thread] = best.x;
  places[thread] = best.y;
  for (var step = 128u; step > 0u; step /= 2u) {
    workgroupBarrier();
    if (thread < step) {
      let joined = better(vec2<u32>(keys[thread], places[thread]),
                          vec2<u32>(keys[thread + step], places[thread + step]));
      keys[thread] = joined.x;
      places[thread] = joined.y;
    }
  }
  if (thread == 0u && number < params.rows * params.chunks) {
//:if PAIRS_OUT
    y[2u * number] = keys[0];
    y[2u * number + 1u] = places[0];
//:else
    y[params.y_offset + strided(row, params.sizes, params.y_strides, params.rank)] =
      select(places[0], 0xffffffffu, keys[0] == kNanKey);
//:end
  }
}
