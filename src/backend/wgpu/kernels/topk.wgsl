// topk: the k <= 64 largest of chunk c of row r, largest first, the first of equals before the others;
// one workgroup of 256 a chunk of at most 2048. PAIRS_OUT: y gets k pairs (key, index) for each chunk,
// [rows, chunks, k, 2]; otherwise y gets values (f32 bits) and z indices. PAIRS_IN: x holds such pairs.
// x: F32, F16 or BF16 of any strides, as words. A radix search over key and position finds the k-th
// largest, 8 bits a pass; NaN comes last. Shared: 10.5 KiB.
//:include common
//:include ordered

struct Params {
  sizes: Six,
  x_strides: Six,
  y_strides: Six,
  z_strides: Six,
  rank: u32,
  rows: u32,
  cols: u32,
  chunks: u32,
  k: u32,
  x_offset: u32,
  x_stride: u32,
  x_kind: u32,
  y_offset: u32,
  y_stride: u32,
  z_offset: u32,
  z_stride: u32,
}

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read_write> y: array<u32>;
//:if PAIRS_OUT
@group(0) @binding(2) var<uniform> params: Params;
//:else
@group(0) @binding(2) var<storage, read_write> z: array<u32>;
@group(0) @binding(3) var<uniform> params: Params;
//:end

const kChunk = 2048u;

var<workgroup> keys: array<u32, 2048>;
var<workgroup> bins: array<atomic<u32>, 256>;
// The bits fixed so far (key, reversed position) and how many are still to be found below them.
var<workgroup> chosen: vec2<u32>;
var<workgroup> held: atomic<u32>;
var<workgroup> best_keys: array<u32, 64>;
var<workgroup> best_places: array<u32, 64>;

// Positions count down, so that of equal keys the first is the largest.
fn reversed_place(i: u32) -> u32 {
  return kChunk - 1u - i;
}

fn load_key(base: u32, i: u32) -> u32 {
//:if PAIRS_IN
  return x[base + 2u * i];
//:else
  let at = base + i * params.x_stride;
  let key = key_of(f32_bits(params.x_kind, x[word_index(params.x_kind, at)], at));
  return select(key, 1u, key == kNanKey);
//:end
}

// Whether `number` agrees with `fixed` in all bits above the lowest `open`.
fn agrees(number: u32, fixed: u32, open: u32) -> bool {
  return open >= 32u || ((number ^ fixed) >> min(open, 31u)) == 0u;
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>,
        @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let number = workgroup_index(group, groups);
  let row = min(number / params.chunks, params.rows - 1u);
  let c = number % params.chunks;
  let base = params.x_offset + strided(row, params.sizes, params.x_strides, params.rank);
  let begin = c * kChunk;
  let count = min(params.cols - begin, kChunk);
  // Short chunks are filled up with keys below all others, if only to k elements.
  let length = max(count, params.k);
  for (var i = thread; i < length; i += 256u) {
    keys[i] = 0u;
    if (i < count) {
      keys[i] = load_key(base, begin + i);
    }
  }
  var fixed = vec2<u32>(0u, 0u);
  var wanted = params.k;
  // Passes 0 to 3 fix the key, 4 and 5 the position (11 bits) among equal keys.
  for (var pass_number = 0u; pass_number < 6u; pass_number++) {
    let in_key = pass_number < 4u;
    let shift = select(40u - 8u * pass_number, 24u - 8u * pass_number, in_key);
    atomicStore(&bins[thread], 0u);
    workgroupBarrier();
    for (var i = thread; i < length; i += 256u) {
      let digits = select(reversed_place(i), keys[i], in_key);
      let above = in_key || keys[i] == fixed.x;
      if (above && agrees(digits, select(fixed.y, fixed.x, in_key), shift + 8u)) {
        atomicAdd(&bins[(digits >> shift) & 255u], 1u);
      }
    }
    workgroupBarrier();
    // Exactly one bin holds the wanted-th largest.
    let mine = atomicLoad(&bins[thread]);
    var larger = 0u;
    for (var bin = thread + 1u; bin < 256u; bin++) {
      larger += atomicLoad(&bins[bin]);
    }
    if (larger < wanted && larger + mine >= wanted) {
      chosen = vec2<u32>(thread, wanted - larger);
    }
    workgroupBarrier();
    let digit = chosen.x << shift;
    fixed = select(vec2<u32>(fixed.x, fixed.y | digit), vec2<u32>(fixed.x | digit, fixed.y), in_key);
    wanted = chosen.y;
    workgroupBarrier();
  }
  if (thread == 0u) {
    atomicStore(&held, 0u);
  }
  workgroupBarrier();
  for (var i = thread; i < length; i += 256u) {
    if (keys[i] > fixed.x || (keys[i] == fixed.x && reversed_place(i) >= fixed.y)) {
      let slot = min(atomicAdd(&held, 1u), 63u);
      best_keys[slot] = keys[i];
      best_places[slot] = i;
    }
  }
  workgroupBarrier();
  if (thread < params.k && number < params.rows * params.chunks) {
    let key = best_keys[thread];
    let place = best_places[thread];
    var rank = 0u;
    for (var i = 0u; i < params.k; i++) {
      rank += select(0u, 1u, best_keys[i] > key || (best_keys[i] == key && best_places[i] < place));
    }
//:if PAIRS_IN
    let index = x[base + 2u * min(begin + place, params.cols - 1u) + 1u];
//:else
    let index = begin + place;
//:end
//:if PAIRS_OUT
    let to = 2u * (number * params.k + rank);
    y[to] = key;
    y[to + 1u] = index;
//:else
    y[params.y_offset + strided(row, params.sizes, params.y_strides, params.rank) +
      rank * params.y_stride] = bits_of_key(key);
    z[params.z_offset + strided(row, params.sizes, params.z_strides, params.rank) +
      rank * params.z_stride] = index;
//:end
  }
}
