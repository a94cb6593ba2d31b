// linear_matrix: y[t, o] = sum_k x[t, k] w[o, k] + bias[o] + residual[t, o] with matrix cores (Dawn).
// x: {{TERMS}} F16 terms a row, X_SCALED with an exponent a row (matrix_terms); w: F16, or BF16 with an
// exponent a row (matrix_exponents), converted while staged; rows of 16-byte groups; bias of any float
// type.
// A workgroup makes {{ROWS}} x {{COLS}} results, a subgroup {{SUB_ROWS}} x {{SUB_COLS}}; 64 columns at a
// time lie in workgroup memory. The loads of the next columns stand before the barrier, where the
// driver's compiler moves them ahead of the products of the step before where it unrolls the loop: so
// {{ROUND}} steps are one round (on an H100 258 TFLOP/s with eight, 194 without). The accumulators
// need names, not an array.
// Matrix cores cut sums off instead of rounding them: after `slice` columns they go to y in F32.
// SPLIT: the columns are divided among workgroups, each writes its sums to y[split, t, o]
// (matrix_merge adds them up). Grid: linear, tiles of x fastest so that weights stay in cache.
//:include common
//:include reals
//:include matrix_tile

struct Params {
  rows: u32,         // of x
  cols: u32,
  pitch: u32,        // of x, a multiple of 64
  padded_rows: u32,  // of x, a multiple of the tile's
  row_begin: u32,    // first weight row of this dispatch
  row_count: u32,
  w_start: u32,      // where row row_begin starts, in elements
  w_stride: u32,
  slice: u32,        // multiples of 64
  split: u32,
  splits: u32,
  y_offset: u32,
  y_stride: u32,
  bias_offset: u32,
  bias_kind: u32,
  residual_offset: u32,
  residual_stride: u32,
}

@group(0) @binding(0) var<storage, read> x: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> w: array<vec4<u32>>;
//:if Y_VEC4
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;
//:else
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
//:end
//:if X_SCALED
@group(0) @binding({{X_EXPONENTS}}) var<storage, read> x_exponents: array<i32>;
//:end
//:if W_BF16
@group(0) @binding({{W_EXPONENTS}}) var<storage, read> w_exponents: array<i32>;
//:end
//:if HAS_BIAS
@group(0) @binding({{BIAS}}) var<storage, read> bias: array<u32>;
//:end
//:if HAS_RESIDUAL
@group(0) @binding({{RESIDUAL}}) var<storage, read> residual: array<f32>;
//:end
@group(0) @binding({{PARAMS}}) var<uniform> params: Params;

const kRows = {{ROWS}}u;
const kCols = {{COLS}}u;
const kSubRows = {{SUB_ROWS}}u;
const kSubCols = {{SUB_COLS}}u;
const kXRows = kRows * {{TERMS}}u;
const kSweep = {{THREADS}}u / 8u;     // tile rows that all threads fetch at once
const kSumPitch = kSubCols + 4u;
const kRound = {{ROUND}}u;            // steps, a divisor of all that a workgroup makes

fn x_exponent(t: u32) -> i32 {
//:if X_SCALED
  return x_exponents[t];
//:else
  return 0;
//:end
}

// What a weight row is multiplied by while it is staged.
fn w_scale(o: u32) -> f32 {
//:if W_BF16
  return power_of_two(-w_exponents[o]);
//:else
  return 1.0;
//:end
}

// TAIL: past the end of the row lies the next one, which this row's scale may overflow.
fn put_w(row: u32, k: u32, values: vec4<u32>, scale: f32) {
//:if TAIL
  let inside = select(vec4<u32>(0u), values, k < params.cols);
//:else
  let inside = values;
//:end
//:if W_BF16
  put(kXRows + row, (k >> 3u) & 7u, f16_of_bf16(inside, scale));
//:else
  put(kXRows + row, (k >> 3u) & 7u, inside);
//:end
}

// Writes those of four results from y[t, o] on that are in [begin, end).
fn store(t: u32, o: u32, begin: u32, end: u32, sums: vec4<f32>, split: u32, is_first: bool, is_last: bool) {
  let e = x_exponent(t);
  var value = sums;
  for (var i = 0u; i < 4u; i++) {
    let column = min(o + i, params.row_count - 1u);
//:if W_BF16
    value[i] = scaled(sums[i], e + w_exponents[column]);
//:else
    value[i] = scaled(sums[i], e);
//:end
//:if HAS_BIAS
    let b = params.bias_offset + params.row_begin + column;
    value[i] += select(0.0, real_of(params.bias_kind, bias[word_of(params.bias_kind, b)], b), is_last);
//:end
//:if HAS_RESIDUAL
    value[i] += select(0.0, residual[params.residual_offset + t * params.residual_stride +
                                     params.row_begin + column], is_last);
//:end
  }
//:if SPLIT
  let at = params.y_offset + (split * params.rows + t) * params.y_stride + params.row_begin + o;
//:else
  let at = params.y_offset + t * params.y_stride + params.row_begin + o;
//:end
//:if Y_VEC4
//:if SLICED
  if (!is_first) {
    value += y[at >> 2u];
  }
//:end
  y[at >> 2u] = value;
//:else
  for (var i = begin; i < end; i++) {
//:if SLICED
    if (!is_first) {
      value[i] += y[at + i];
    }
//:end
    y[at + i] = value[i];
  }
//:end
}

// Writes 16 rows of sums, which lie at `place` in workgroup memory, from y[t, o] on.
fn write(place: u32, lane: u32, t: u32, o: u32, o_first: u32, split: u32, is_first: bool, is_last: bool) {
  let quads = bufferView<array<vec4<f32>, kMemory / 16u>>(&memory, 0);
  for (var i = lane; i < 4u * kSubCols; i += 32u) {
    let row = i / (kSubCols / 4u);
    let col = i % (kSubCols / 4u) * 4u;
    if (t + row < params.rows && o + col + 3u >= o_first && o + col < params.row_count) {
      store(t + row, o + col, max(o_first, o + col) - o - col, min(4u, params.row_count - o - col),
            quads[(place + row * kSumPitch + col) >> 2u], split, is_first, is_last);
    }
  }
}

@compute @workgroup_size({{THREADS}})
fn main(@builtin(workgroup_id) group: vec3<u32>,
        @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32,
        @builtin(subgroup_id) warp: u32,
        @builtin(subgroup_invocation_id) lane: u32) {
  let t_tiles = (params.rows + kRows - 1u) / kRows;
  let o_tiles = (params.row_count + kCols - 1u) / kCols;
  let index = workgroup_index(group, groups);
  if (index >= t_tiles * o_tiles * params.splits) {
    return;
  }
  let t0 = index % t_tiles * kRows;
  // The last tile reaches back into the one before, and does not write what that writes.
  let o_first = index / t_tiles % o_tiles * kCols;
  let o0 = min(o_first, params.row_count - kCols);
  let split = index / t_tiles / o_tiles;
  let begin = split * params.split;
  let end = min(begin + params.split, params.pitch);
  let sub_row = warp / (kCols / kSubCols) * kSubRows;
  let sub_col = warp % (kCols / kSubCols) * kSubCols;
  let row = thread >> 3u;
  let piece = thread & 7u;
  let halves = bufferView<array<f16, kMemory / 2u>>(&memory, 0);
  let sums = bufferView<array<f32, kMemory / 4u>>(&memory, 0);
  // In pieces of eight columns.
  let x_pitch = params.pitch >> 3u;
  let x_plane = x_pitch * params.padded_rows;
  let w_pitch = params.w_stride >> 3u;
  let x_row = (t0 + row) * x_pitch;
  let w_row = (params.w_start >> 3u) + (o0 + row) * w_pitch;
  let x_tile = sub_row * kPitch;
  let w_tile = (kXRows + sub_col) * kPitch;
  let place = warp * 16u * kSumPitch;
{{SCALES}}
//:if SLICED
  for (var first = begin; first < end; first += params.slice) {
    let last = min(first + params.slice, end);
//:else
  let first = begin;
  let last = end;
//:end
{{SUMS}}
    for (var round = first; round < last; round += kRound * kStep) {
      for (var step = 0u; step < kRound; step++) {
        let k = round + step * kStep + piece * 8u;
        let x_at = x_row + (k >> 3u);
//:if TAIL
        let w_at = w_row + (min(k, params.cols - 8u) >> 3u);
//:else
        let w_at = w_row + (k >> 3u);
//:end
{{LOADS}}
        workgroupBarrier();
{{PUTS}}
        workgroupBarrier();
{{PRODUCTS}}
      }
    }
{{STORES}}
//:if SLICED
  }
//:end
}
