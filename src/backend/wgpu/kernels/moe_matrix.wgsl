// moe_matrix: the expert matrices for many tokens on matrix cores (Dawn only), by tiles of at most
// {{ROWS}} pairs of one expert (see moe_group). Under GATE_UP
//   y[i, r] = silu(gate_e[r] . x[order[i] / k]) * (up_e[r] . x[order[i] / k]),
// i the position in the plan's order, else y[order[i], r] = down_e[r] . x[i]; for the rows
// e * rows + r in [row_begin, row_end), one segment.
// x: F16 terms of matrix_terms, w and up: BF16, made F16 while they are staged (matrix_exponents).
// A workgroup takes {{COLS}} rows of weights; a subgroup {{SUB_ROWS}} pairs and 32 of these rows, under
// GATE_UP 16 of gate and the same of up. 64 columns are a step, {{ROUND}} steps a round that the
// driver's compiler unrolls (see linear_matrix). Tiles of half the pairs or less have loops of their own,
// in which a subgroup takes half as many, so that the tile of an expert follows its number of pairs.
// Sums in F32; matrix cores cut what they add, so EXACT adds every round, at most 512 columns, by
// itself. Grid: blocks of rows x tiles; tiles beyond the plan do nothing.
//:include silu
//:include moe_matrix_io

const kRound = {{ROUND}}u;
const kSubRows = {{SUB_ROWS}}u;
const kSubCols = {{SUB_COLS}}u;        // 32
const kSumPitch = kSubCols + 4u;       // of drained sums, in F32

alias Sum = subgroup_matrix_result<f32, 16, 16>;

// A lane's sums of a fragment of 16 pairs: column lane % 16 of both matrices, every second row.
struct Part {
  a0: vec4<f32>,
  a1: vec4<f32>,
  b0: vec4<f32>,
  b1: vec4<f32>,
}

fn four(at: u32) -> vec4<f32> {
  let sums = bufferView<array<f32, kMemory / 4u>>(&memory, 0u);
  return vec4<f32>(sums[at], sums[at + 2u * kSumPitch], sums[at + 4u * kSumPitch],
                   sums[at + 6u * kSumPitch]);
}

fn drained(warp: u32, lane: u32, a: Sum, b: Sum) -> Part {
  let sums = bufferView<array<f32, kMemory / 4u>>(&memory, 0u);
  let place = warp * 16u * kSumPitch;
  workgroupBarrier();
  subgroupMatrixStore(sums, place, a, false, kSumPitch);
  subgroupMatrixStore(sums, place + 16u, b, false, kSumPitch);
  workgroupBarrier();
  let at = place + lane / 16u * kSumPitch + lane % 16u;
  return Part(four(at), four(at + 8u * kSumPitch), four(at + 16u), four(at + 8u * kSumPitch + 16u));
}

fn plus(p: Part, q: Part) -> Part {
  return Part(p.a0 + q.a0, p.a1 + q.a1, p.b0 + q.b0, p.b1 + q.b1);
}

// What the tile's pairs are multiplied with, and where their results go.
var<workgroup> x_powers: array<i32, kRows>;
var<workgroup> y_rows: array<u32, kRows>;

fn prepare(tile: Tile, thread: u32) {
  if (thread < kRows) {
    x_powers[thread] = x_exponents[x_row(tile, thread)];
//:if GATE_UP
    y_rows[thread] = tile.first + thread;
//:else
    y_rows[thread] = plan[params.order_offset + tile.first + min(thread, tile.count - 1u)];
//:end
  }
}

// The two columns of results of a lane: of gate and up, or 16 apart.
struct Columns {
  r: u32,
  is_mine: vec2<bool>,
  powers: vec2<i32>,
}

fn is_mine(tile: Tile, r: u32) -> bool {
  let row = tile.expert * params.rows + r;
  return r < params.rows && row >= params.row_begin && row < params.row_end;
}

// i: the row of weights in the tile, apart: how far its other one is.
fn columns_of(tile: Tile, i: u32, apart: u32) -> Columns {
  let r = tile.r0 + i;
  return Columns(r, vec2<bool>(is_mine(tile, r), is_mine(tile, r + 16u)),
                 vec2<i32>(w_power(tile, i), w_power(tile, i + apart)));
}

fn emit(pair: u32, count: u32, columns: Columns, a: f32, b: f32) {
  if (pair < count) {
    let powers = columns.powers + x_powers[pair];
    let to = params.y_offset + y_rows[pair] * params.rows + columns.r;
    let va = scaled(a, powers.x);
    let vb = scaled(b, powers.y);
//:if GATE_UP
    if (columns.is_mine.x) {
      y[to] = silu(va) * vb;
    }
//:else
    if (columns.is_mine.x) {
      y[to] = va;
    }
    if (columns.is_mine.y) {
      y[to + 16u] = vb;
    }
//:end
  }
}

// Writes a fragment of 16 pairs, `first` being the first.
fn store(first: u32, count: u32, lane: u32, columns: Columns, part: Part) {
  let pair = first + lane / 16u;
  for (var j = 0u; j < 4u; j++) {
    emit(pair + 2u * j, count, columns, part.a0[j], part.b0[j]);
    emit(pair + 8u + 2u * j, count, columns, part.a1[j], part.b1[j]);
  }
}

@compute @workgroup_size({{THREADS}})
fn main(@builtin(workgroup_id) group: vec3<u32>,
        @builtin(local_invocation_index) thread: u32,
        @builtin(subgroup_id) warp: u32,
        @builtin(subgroup_invocation_id) lane: u32) {
  // Uniform: the plan is bound read-only and the tile comes from the workgroup's number.
  if (group.y >= plan[params.plan_offset]) {
    return;
  }
  let entry = params.plan_offset + 1u + group.y * 3u;
  let tile = Tile(plan[entry], plan[entry + 1u], plan[entry + 2u], group.x * kResults);
  let row0 = tile.expert * params.rows + tile.r0;
  if (row0 >= params.row_end || row0 + kResults <= params.row_begin) {
    return;
  }
  let halves = bufferView<array<f16, kMemory / 2u>>(&memory, 0u);
  prepare(tile, thread);
  let row = thread >> 3u;
  let piece = thread & 7u;
  let few = tile.count <= kRows / 2u;
  let sub_row = warp / (kCols / kSubCols) * select(kSubRows, kSubRows / 2u, few);
//:if GATE_UP
  let sub_col = warp % (kCols / kSubCols) * 16u;
  let columns = columns_of(tile, sub_col + lane % 16u, kResults);
//:else
  let sub_col = warp % (kCols / kSubCols) * 32u;
  let columns = columns_of(tile, sub_col + lane % 16u, 16u);
//:end
  let x_tile = sub_row * kPitch;
  let w_tile = (kXRows + sub_col) * kPitch;
{{STARTS}}
//:if EXACT
  var total_0 = Part();
  var total_1 = Part();
//:end
{{SUMS}}
  // Rows of the upper half are neither brought nor multiplied.
  for (var round = 0u; few && round < params.pitch; round += kRound * kStep) {
    for (var step = 0u; step < kRound; step++) {
      let k = round + step * kStep + piece * 8u;
      let x_at = k >> 3u;
      let w_at = weight_piece(k);
{{FEW_LOADS}}
      workgroupBarrier();
{{FEW_PUTS}}
      workgroupBarrier();
{{FEW_PRODUCTS}}
    }
//:if EXACT
    total_0 = plus(total_0, drained(warp, lane, sum_0_0, sum_0_1));
    sum_0_0 = Sum();
    sum_0_1 = Sum();
//:end
  }
  for (var round = 0u; !few && round < params.pitch; round += kRound * kStep) {
    for (var step = 0u; step < kRound; step++) {
      let k = round + step * kStep + piece * 8u;
      let x_at = k >> 3u;
      let w_at = weight_piece(k);
{{LOADS}}
      workgroupBarrier();
{{PUTS}}
      workgroupBarrier();
{{PRODUCTS}}
    }
//:if EXACT
    total_0 = plus(total_0, drained(warp, lane, sum_0_0, sum_0_1));
    total_1 = plus(total_1, drained(warp, lane, sum_1_0, sum_1_1));
    sum_0_0 = Sum();
    sum_0_1 = Sum();
    sum_1_0 = Sum();
    sum_1_1 = Sum();
//:end
  }
//:if EXACT
  store(sub_row, tile.count, lane, columns, total_0);
  if (!few) {
    store(sub_row + 16u, tile.count, lane, columns, total_1);
  }
//:else
  store(sub_row, tile.count, lane, columns, drained(warp, lane, sum_0_0, sum_0_1));
  store(sub_row + 16u, tile.count, lane, columns, drained(warp, lane, sum_1_0, sum_1_1));
  if (!few) {
    store(sub_row + 32u, tile.count, lane, columns, drained(warp, lane, sum_2_0, sum_2_1));
    store(sub_row + 48u, tile.count, lane, columns, drained(warp, lane, sum_3_0, sum_3_1));
  }
//:end
}
