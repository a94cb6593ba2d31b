// moe_matrix: the expert matrices for many tokens on matrix cores (Dawn only), by tiles of at most 64
// pairs of one expert (see moe_group). Under GATE_UP
//   y[i, r] = silu(gate_e[r] . x[order[i] / k]) * (up_e[r] . x[order[i] / k]),
// i the position in the plan's order, else y[order[i], r] = down_e[r] . x[i]; for the rows
// e * rows + r in [row_begin, row_end), one segment.
// x: F16 terms of matrix_terms, w and up: BF16, made F16 while they are staged (matrix_exponents).
// Four subgroups of 32 share 128 rows of weights (64 of gate and of up); each takes 32 of them (16 and
// 16) for all pairs. 32 columns at a time lie in workgroup memory, rows padded from 32 to 40 against
// bank conflicts. The columns of all steps of a group are asked for together: memory gives 256 bytes
// of a row faster than four times 64.
// Sums in F32; matrix cores cut what they add, so EXACT adds every 512 columns by itself.
// Shared: 15 KiB, EXACT 20. Grid: linear over tiles and blocks of rows; tiles beyond the plan do
// nothing.
//:include common
//:include silu
//:include matrix_scale
//:include moe_matrix_io

const kSumPitch = 36u;  // of drained sums, in F32

alias Sum = subgroup_matrix_result<f32, 16, 16>;

// A lane's sums of a fragment of 16 pairs: column lane % 16 of both matrices, every second row.
struct Part {
  a0: vec4<f32>,
  a1: vec4<f32>,
  b0: vec4<f32>,
  b1: vec4<f32>,
}

fn four(at: u32) -> vec4<f32> {
  let sums = bufferView<array<f32, kBytes / 4u>>(&memory, 0u);
  return vec4<f32>(sums[at], sums[at + 2u * kSumPitch], sums[at + 4u * kSumPitch],
                   sums[at + 6u * kSumPitch]);
}

fn drained(warp: u32, lane: u32, a: Sum, b: Sum) -> Part {
  let sums = bufferView<array<f32, kBytes / 4u>>(&memory, 0u);
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
var<workgroup> x_powers: array<i32, 64>;
var<workgroup> y_rows: array<u32, 64>;

fn prepare(tile: Tile, thread: u32) {
  if (thread < 64u) {
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

fn columns_of(tile: Tile, warp: u32, lane: u32) -> Columns {
//:if GATE_UP
  let i = warp * 16u + lane % 16u;
  let row = weight_row(tile, i);
  return Columns(tile.r0 + i, vec2<bool>(is_mine(tile, tile.r0 + i)),
                 vec2<i32>(w_exponents[row], up_exponents[row]));
//:else
  let i = warp * 32u + lane % 16u;
  let r = tile.r0 + i;
  return Columns(r, vec2<bool>(is_mine(tile, r), is_mine(tile, r + 16u)),
                 vec2<i32>(w_exponents[weight_row(tile, i)], w_exponents[weight_row(tile, i + 16u)]));
//:end
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

// Writes fragment i.
fn store(tile: Tile, i: u32, lane: u32, columns: Columns, part: Part) {
  let pair = i * 16u + lane / 16u;
  for (var j = 0u; j < 4u; j++) {
    emit(pair + 2u * j, tile.count, columns, part.a0[j], part.b0[j]);
    emit(pair + 8u + 2u * j, tile.count, columns, part.a1[j], part.b1[j]);
  }
}

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3<u32>,
        @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32,
        @builtin(subgroup_id) warp: u32,
        @builtin(subgroup_invocation_id) lane: u32) {
  let blocks = (params.rows + kResults - 1u) / kResults;
  let index = workgroup_index(group, groups);
  // Uniform: the plan is bound read-only and the tile comes from the workgroup's number.
  let number = index / blocks;
  if (number >= plan[params.plan_offset]) {
    return;
  }
  let entry = params.plan_offset + 1u + number * 3u;
  let tile = Tile(plan[entry], plan[entry + 1u], plan[entry + 2u], index % blocks * kResults);
  let row0 = tile.expert * params.rows + tile.r0;
  if (row0 >= params.row_end || row0 + kResults <= params.row_begin) {
    return;
  }
  let halves = bufferView<array<f16, kBytes / 2u>>(&memory, 0u);
  let source = source_of(tile, thread);
  prepare(tile, thread);
  let x_tile = 0u;
  let w_tile = kWeights + warp * 32u * kPitch;
  let eights = params.cols / 8u;
//:if EXACT
  var total_0 = Part();
  var total_1 = Part();
  var total_2 = Part();
  var total_3 = Part();
//:end
{{SUMS}}
  var step_0 = fetch(source, 0u);
  var step_1 = fetch(source, 4u);
//:if EXACT
//:else
  var step_2 = fetch(source, 8u);
  var step_3 = fetch(source, 12u);
//:end
  var k = 0u;
  loop {
    stage(source, step_0);
{{PRODUCTS}}
//:if EXACT
    stage(source, step_1);
//:else
    stage(source, step_1);
{{PRODUCTS}}
    stage(source, step_2);
{{PRODUCTS}}
    stage(source, step_3);
//:end
    k += kSteps * 4u;
    step_0 = fetch(source, k);
    step_1 = fetch(source, k + 4u);
//:if EXACT
//:else
    step_2 = fetch(source, k + 8u);
    step_3 = fetch(source, k + 12u);
//:end
{{PRODUCTS}}
//:if EXACT
    if (k % 64u == 0u) {
      total_0 = plus(total_0, drained(warp, lane, sum_0_0, sum_0_1));
      total_1 = plus(total_1, drained(warp, lane, sum_1_0, sum_1_1));
      total_2 = plus(total_2, drained(warp, lane, sum_2_0, sum_2_1));
      total_3 = plus(total_3, drained(warp, lane, sum_3_0, sum_3_1));
      sum_0_0 = Sum();
      sum_0_1 = Sum();
      sum_1_0 = Sum();
      sum_1_1 = Sum();
      sum_2_0 = Sum();
      sum_2_1 = Sum();
      sum_3_0 = Sum();
      sum_3_1 = Sum();
    }
//:end
    if (k >= eights) {
      break;
    }
  }
  let columns = columns_of(tile, warp, lane);
//:if EXACT
  store(tile, 0u, lane, columns, plus(total_0, drained(warp, lane, sum_0_0, sum_0_1)));
  store(tile, 1u, lane, columns, plus(total_1, drained(warp, lane, sum_1_0, sum_1_1)));
  store(tile, 2u, lane, columns, plus(total_2, drained(warp, lane, sum_2_0, sum_2_1)));
  store(tile, 3u, lane, columns, plus(total_3, drained(warp, lane, sum_3_0, sum_3_1)));
//:else
  store(tile, 0u, lane, columns, drained(warp, lane, sum_0_0, sum_0_1));
  store(tile, 1u, lane, columns, drained(warp, lane, sum_1_0, sum_1_1));
  store(tile, 2u, lane, columns, drained(warp, lane, sum_2_0, sum_2_1));
  store(tile, 3u, lane, columns, drained(warp, lane, sum_3_0, sum_3_1));
//:end
}
