// gather_rows: y[i, :] = table[ids[i], :], zeros for ids outside of the table, for the rows
// [row_begin, row_end) of the table, which lie in one segment.
// table: any float or block type (W_*) to f32 y (8 columns a thread), or under SAME any 4-byte type
// unchanged, or under SAME_HALF any 2-byte type unchanged; ids: u32; y: gapless rows.
// The dispatch with `first` set writes zeros for all ids that are not its own; later ones leave them.
// SAME_HALF: a thread owns a word of y, whose halves may belong to two rows.
// Workgroup 256. Grid: linear.
//:include common
//:include weight

struct Params {
  count: u32,        // of ids
  cols: u32,
  row_begin: u32,
  row_end: u32,
  first: u32,
  ids_offset: u32,
  ids_stride: u32,
  w_start: u32,      // where row row_begin starts, in elements or blocks
  w_stride: u32,
  y_offset: u32,
}

@group(0) @binding(0) var<storage, read> table: array<u32>;
@group(0) @binding(1) var<storage, read> ids: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<u32>;
@group(0) @binding(3) var<uniform> params: Params;

fn w_word(which: u32, i: u32) -> u32 {
  return table[i];
}

//:if SAME_HALF
// Element e of y as 16 bits; `old` where it is another segment's.
fn element(e: u32, old: u32) -> u32 {
  let i = (e - params.y_offset) / params.cols;
  if (e < params.y_offset || i >= params.count) {
    return old;
  }
  let row = ids[params.ids_offset + i * params.ids_stride];
  if (row < params.row_begin || row >= params.row_end) {
    return select(old, 0u, params.first != 0u);
  }
  let at = params.w_start + (row - params.row_begin) * params.w_stride +
           (e - params.y_offset) % params.cols;
  return (table[at >> 1u] >> ((at & 1u) << 4u)) & 0xffffu;
}
//:end

//:if SAME_HALF
//:else
fn put(at: u32, left: u32, v: vec4<u32>) {
  y[at] = v.x;
  if (left > 1u) { y[at + 1u] = v.y; }
  if (left > 2u) { y[at + 2u] = v.z; }
  if (left > 3u) { y[at + 3u] = v.w; }
}
//:end

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>,
        @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let index = workgroup_index(group, groups) * 256u + thread;
//:if SAME_HALF
  let begin = params.y_offset >> 1u;
  let end = (params.y_offset + params.count * params.cols + 1u) >> 1u;
  if (begin + index < end) {
    let old = y[begin + index];
    let e = (begin + index) * 2u;
    y[begin + index] = element(e, old & 0xffffu) | (element(e + 1u, old >> 16u) << 16u);
  }
//:else
  let chunks = (params.cols + 7u) / 8u;
  if (index < params.count * chunks) {
    let i = index / chunks;
    let k = index % chunks * 8u;
    let row = ids[params.ids_offset + i * params.ids_stride];
    let at = params.y_offset + i * params.cols + k;
    let left = params.cols - k;
    if (row >= params.row_begin && row < params.row_end) {
      let start = params.w_start + (row - params.row_begin) * params.w_stride;
//:if SAME
      for (var j = 0u; j < min(left, 8u); j++) {
        y[at + j] = table[start + k + j];
      }
//:else
      let piece = weight8(0u, start, k, params.cols);
      put(at, left, bitcast<vec4<u32>>(piece.lo));
      if (left > 4u) {
        put(at + 4u, left - 4u, bitcast<vec4<u32>>(piece.hi));
      }
//:end
    } else if (params.first != 0u) {
      put(at, left, vec4<u32>(0u));
      if (left > 4u) {
        put(at + 4u, left - 4u, vec4<u32>(0u));
      }
    }
  }
//:end
}
