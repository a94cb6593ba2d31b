// moe_matrix_io: what moe_matrix binds, where the rows of its tiles lie, and how they come into
// workgroup memory: {{ROWS}} pairs in order of the plan, a term after the other, then {{COLS}} rows of
// weights (under GATE_UP half of gate, half of up), 64 columns at a time.
//:include matrix_tile

struct Params {
  k: u32,
  cols: u32,         // a multiple of 8
  rows: u32,         // of one expert
  row_begin: u32,
  row_end: u32,
  pitch: u32,        // of x, a multiple of 64, zeros past cols
  padded_rows: u32,  // of x, between the terms
  plan_offset: u32,
  order_offset: u32,
  w_start: u32,      // where row row_begin starts, in elements
  up_start: u32,
  w_stride: u32,
  y_offset: u32,
}

@group(0) @binding(0) var<storage, read> x: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> x_exponents: array<i32>;
@group(0) @binding(2) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> w_exponents: array<i32>;
@group(0) @binding(4) var<storage, read> plan: array<u32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;
//:if GATE_UP
@group(0) @binding(6) var<storage, read> up: array<vec4<u32>>;
@group(0) @binding(7) var<storage, read> up_exponents: array<i32>;
@group(0) @binding(8) var<uniform> params: Params;
//:else
@group(0) @binding(6) var<uniform> params: Params;
//:end

const kRows = {{ROWS}}u;
const kCols = {{COLS}}u;
const kXRows = kRows * {{TERMS}}u;
const kSweep = {{THREADS}}u / 8u;  // tile rows that all threads fetch at once
//:if GATE_UP
const kResults = kCols / 2u;
//:else
const kResults = kCols;
//:end

struct Tile {
  expert: u32,
  first: u32,
  count: u32,
  r0: u32,
}

// Row r of the tile's expert, counted from the segment's first. Rows of other experts or segments are
// computed and not stored.
fn weight_row(tile: Tile, i: u32) -> u32 {
  let row = tile.expert * params.rows + min(tile.r0 + i % kResults, params.rows - 1u);
  return clamp(row, params.row_begin, params.row_end - 1u) - params.row_begin;
}

// Where row i of the tile begins, in pieces of eight columns.
fn w_start(tile: Tile, i: u32) -> u32 {
  let start = select(params.w_start, params.up_start, i >= kResults);
  return (start + weight_row(tile, i) * params.w_stride) >> 3u;
}

// The power of two that row i is divided by while it is staged.
fn w_power(tile: Tile, i: u32) -> i32 {
  let row = weight_row(tile, i);
//:if GATE_UP
  if (i >= kResults) {
    return up_exponents[row];
  }
//:end
  return w_exponents[row];
}

// The row of x that is row i of the tile.
fn x_row(tile: Tile, i: u32) -> u32 {
  let position = tile.first + min(i, tile.count - 1u);
//:if GATE_UP
  return plan[params.order_offset + position] / params.k;
//:else
  return position;
//:end
}

fn x_start(tile: Tile, i: u32) -> u32 {
  return (i / kRows * params.padded_rows + x_row(tile, i % kRows)) * (params.pitch >> 3u);
}

// The piece of a weight row at column k, the last one again past its end.
fn weight_piece(k: u32) -> u32 {
//:if TAIL
  return min(k, params.cols - 8u) >> 3u;
//:else
  return k >> 3u;
//:end
}

// TAIL: past the end of the row lies the next one, which this row's scale may overflow.
fn put_w(row: u32, k: u32, values: vec4<u32>, scale: f32) {
//:if TAIL
  let inside = select(vec4<u32>(0u), values, k < params.cols);
//:else
  let inside = values;
//:end
  put(kXRows + row, (k >> 3u) & 7u, f16_of_bf16(inside, scale));
}
