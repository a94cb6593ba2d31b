// moe_matrix_io: what moe_matrix binds, and how its tiles come into workgroup memory: the rows of x in
// order of the plan, 64 a term, and 128 rows of weights, 32 columns at a time.

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
const kResults = 64u;
//:else
@group(0) @binding(6) var<uniform> params: Params;
const kResults = 128u;
//:end

//:if EXACT
const kSteps = 2u;                     // of a group
const kTerms = 2u;
//:else
const kSteps = 4u;
const kTerms = 1u;
//:end
const kPitch = 40u;                    // of a staged row, in F16
const kPlane = 64u * kPitch;           // of one term of x
const kWeights = kTerms * kPlane;      // where the weights begin
const kBytes = 2u * (kWeights + 128u * kPitch);

var<workgroup> memory: buffer<kBytes>;

struct Tile {
  expert: u32,
  first: u32,
  count: u32,
  r0: u32,
}

// What a thread brings in one step: eight columns of rows 32 apart.
struct Step {
  w0: vec4<u32>,
  w1: vec4<u32>,
  w2: vec4<u32>,
  w3: vec4<u32>,
  x0: vec4<u32>,
  x1: vec4<u32>,
//:if EXACT
  low0: vec4<u32>,
  low1: vec4<u32>,
//:end
}

// Where they lie, in eights of columns, and the powers of two of the weights' rows.
struct Source {
  w: vec4<u32>,
  scale: vec4<f32>,
  x: vec2<u32>,
  piece: u32,
  put_w: u32,
  put_x: u32,
}

// Row i of gate, up or down, counted from the segment's first. Rows of other experts or segments are
// computed and not stored.
fn weight_row(tile: Tile, i: u32) -> u32 {
  let row = tile.expert * params.rows + min(tile.r0 + i, params.rows - 1u);
  return clamp(row, params.row_begin, params.row_end - 1u) - params.row_begin;
}

fn x_row(tile: Tile, i: u32) -> u32 {
  let position = tile.first + min(i, tile.count - 1u);
//:if GATE_UP
  return plan[params.order_offset + position] / params.k;
//:else
  return position;
//:end
}

fn source_of(tile: Tile, thread: u32) -> Source {
  let i = thread / 4u;
  let piece = thread % 4u;
  let xs = vec2<u32>(x_row(tile, i), x_row(tile, i + 32u)) * (params.pitch / 8u) + piece;
//:if GATE_UP
  let rows = vec2<u32>(weight_row(tile, i), weight_row(tile, i + 32u));
  let e = vec4<i32>(w_exponents[rows.x], w_exponents[rows.y], up_exponents[rows.x],
                    up_exponents[rows.y]);
  let starts = vec4<u32>(rows, rows) * params.w_stride +
               vec4<u32>(vec2<u32>(params.w_start), vec2<u32>(params.up_start));
  // 16 rows of gate and the same of up lie side by side, for one subgroup.
  let put = i / 16u * 32u + i % 16u;
//:else
  let rows = vec4<u32>(weight_row(tile, i), weight_row(tile, i + 32u), weight_row(tile, i + 64u),
                       weight_row(tile, i + 96u));
  let e = vec4<i32>(w_exponents[rows.x], w_exponents[rows.y], w_exponents[rows.z],
                    w_exponents[rows.w]);
  let starts = rows * params.w_stride + params.w_start;
  let put = i;
//:end
  let scale = vec4<f32>(power_of_two(-e.x), power_of_two(-e.y), power_of_two(-e.z),
                        power_of_two(-e.w));
  return Source(starts / 8u + piece, scale, xs, piece,
                (kWeights + put * kPitch) / 8u + piece, i * (kPitch / 8u) + piece);
}

// The columns from eight k on; zeros beyond the row.
fn fetch(source: Source, k: u32) -> Step {
  var step: Step;
  if (k + source.piece < params.cols / 8u) {
    step.w0 = w[source.w.x + k];
    step.w1 = w[source.w.y + k];
//:if GATE_UP
    step.w2 = up[source.w.z + k];
    step.w3 = up[source.w.w + k];
//:else
    step.w2 = w[source.w.z + k];
    step.w3 = w[source.w.w + k];
//:end
    step.x0 = x[source.x.x + k];
    step.x1 = x[source.x.y + k];
//:if EXACT
    let low = params.padded_rows * (params.pitch / 8u) + k;
    step.low0 = x[source.x.x + low];
    step.low1 = x[source.x.y + low];
//:end
  }
  return step;
}

fn stage(source: Source, step: Step) {
  let wide = bufferView<array<vec4<u32>, kBytes / 16u>>(&memory, 0u);
  workgroupBarrier();
  let at = source.put_w;
  wide[at] = f16_of_bf16(step.w0, source.scale.x);
//:if GATE_UP
  wide[at + 8u * kPitch] = f16_of_bf16(step.w1, source.scale.y);
  wide[at + 2u * kPitch] = f16_of_bf16(step.w2, source.scale.z);
  wide[at + 10u * kPitch] = f16_of_bf16(step.w3, source.scale.w);
//:else
  wide[at + 4u * kPitch] = f16_of_bf16(step.w1, source.scale.y);
  wide[at + 8u * kPitch] = f16_of_bf16(step.w2, source.scale.z);
  wide[at + 12u * kPitch] = f16_of_bf16(step.w3, source.scale.w);
//:end
  wide[source.put_x] = step.x0;
  wide[source.put_x + 4u * kPitch] = step.x1;
//:if EXACT
  wide[source.put_x + kPlane / 8u] = step.low0;
  wide[source.put_x + kPlane / 8u + 4u * kPitch] = step.low1;
//:end
  workgroupBarrier();
}
