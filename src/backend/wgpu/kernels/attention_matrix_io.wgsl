// attention_matrix_io: workgroup memory of attention_matrix and the steps that it takes several
// times. Needs weight.wgsl and attention_tiles.wgsl.

//:include halves

const kRows = 128u;
const kKeys = 32u;
const kSlack = 12.0;        // 2^12 and 128 such shares are far from the limits of F16 and F32
const kLog2E = 1.44269504;
const kPitch = 136u;        // of keys and values, eight more than a row against bank conflicts
const kValues = 4352u;      // where they begin in `halves`
const kShares = 8704u;
const kSharePitch = 40u;
const kScorePitch = 36u;
const kQueryPitch = 72u;    // queries pass through `halves`, 64 dimensions at a time

const kHalves = 13824u;
const kScores = 4608u;

var<workgroup> stale: array<atomic<u32>, 4>;  // [0]: whether a row's reference rose

fn store_scores(at: u32, sums: Result) {
  store_result(at, sums, kScorePitch);
}

fn load_scores(at: u32) -> Result {
  let words = bufferView<array<f32, kScores>>(&scores, 0u);
  return subgroupMatrixLoad<Result>(words, at, false, kScorePitch);
}

fn zeros() -> Eight {
  return Eight(vec4<f32>(0.0), vec4<f32>(0.0));
}

// Eight elements of a key or value as they lie in the cache: fetched early, unpacked late.
//:if RAW_BF16
alias Raw = vec4<u32>;

fn fetch(which: u32, row: u32, d: u32) -> Raw {
  return w_quad(which, (row + d) >> 3u);
}

fn unpacked(raw: Raw) -> Eight {
  return Eight(four_of(raw.xy), four_of(raw.zw));
}
//:else
alias Raw = Eight;

fn fetch(which: u32, row: u32, d: u32) -> Raw {
  return cached8(which, row, d);
}

fn unpacked(raw: Raw) -> Eight {
  return raw;
}
//:end

// What a thread brings of a tile of keys and values: eight dimensions of one position, WIDE: twice.
struct Tile {
  key: Raw,
  value: Raw,
//:if WIDE
  far_key: Raw,
  far_value: Raw,
//:end
}

// The tile that begins at position `at`; the run's last position again past its end.
fn fetch_tile(at: u32, run: Run, page_row: u32, kv_head: u32, thread: u32) -> Tile {
  let position = min(at + thread / 8u, run.high - 1u);
  let page = pages[page_row + position / params.page];
  let slot = position % params.page;
  let k_row = key_row(page, kv_head, slot);
  let v_row = value_row(page, kv_head, slot);
  let d = thread % 8u * 8u;
  var tile: Tile;
  if (d < params.dim) {
    tile.key = fetch(0u, k_row, d);
    tile.value = fetch(1u, v_row, d);
  }
//:if WIDE
  if (d + 64u < params.dim) {
    tile.far_key = fetch(0u, k_row, d + 64u);
    tile.far_value = fetch(1u, v_row, d + 64u);
  }
//:end
  return tile;
}

fn put_tile(tile: Tile, thread: u32) {
  let at = thread / 8u * kPitch + thread % 8u * 8u;
  put8(at, unpacked(tile.key));
  put8(kValues + at, unpacked(tile.value));
//:if WIDE
  put8(at + 64u, unpacked(tile.far_key));
  put8(kValues + at + 64u, unpacked(tile.far_value));
//:end
}

// 64 dimensions from `d0` on of all rows, scaled for shares that are powers of two, to `halves`.
fn stage_queries(thread: u32, first_row: u32, rows: u32, per_kv: u32, kv_head: u32, d0: u32) {
  let scale = params.scale * kLog2E;
  for (var i = thread; i < kRows * 8u; i += 256u) {
    let row = i / 8u;
    let d = d0 + i % 8u * 8u;
    let flat = min(first_row + row, rows - 1u);
    let source = params.q_offset + flat / per_kv * params.q_token +
               (kv_head * per_kv + flat % per_kv) * params.q_head;
    var values = zeros();
    for (var j = 0u; j < 4u; j++) {
      if (d + j < params.dim) {
        values.lo[j] = scale * q[source + d + j];
      }
      if (d + j + 4u < params.dim) {
        values.hi[j] = scale * q[source + d + j + 4u];
      }
    }
    put8(row * kQueryPitch + i % 8u * 8u, values);
  }
}

// The scores of 16 keys grow by 16 dimensions, which begin at `at`.
fn scored(queries: Left, at: u32, sums: Result) -> Result {
  return subgroupMatrixMultiplyAccumulate(queries, turned_right_at(at, kPitch), sums);
}

// 16 dimensions from d on of the results grow by 32 values.
fn weighed(first: Left, second: Left, d: u32, sums: Result) -> Result {
  let at = kValues + d;
  let half_way = subgroupMatrixMultiplyAccumulate(first, right_at(at, kPitch), sums);
  return subgroupMatrixMultiplyAccumulate(second, right_at(at + 16u * kPitch, kPitch), half_way);
}

fn fade_row(source: u32, by: f32) {
  let quads = bufferView<array<vec4<f32>, kScores / 4u>>(&scores, 0u);
  for (var i = 0u; i < 4u; i++) {
    quads[(source >> 2u) + i] *= by;
  }
}

// Sixteen results of a row from `scores` to y.
fn store_row(to: u32, d: u32, source: u32, factor: f32, live: bool) {
  for (var i = 0u; i < 16u; i += 4u) {
    let results = factor * score4(source + i);
    for (var j = 0u; j < 4u; j++) {
      if (live && d + i + j < params.dim) {
        y[to + d + i + j] = results[j];
      }
    }
  }
}
