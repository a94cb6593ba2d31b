// moe_group: sorts the pairs (token, expert) by expert, ascending inside an expert, and cuts each
// expert's list into tiles of at most `tile` pairs for the kernels that read the plan.
// experts: u32 [pairs], each < experts_count <= 1024. plan: u32, first the number of tiles, then per
// tile {expert, first position, pairs}, then from order_offset on the pairs in order, from grids_offset on
// two grids of indirect dispatches: wide_blocks x tiles x 1, narrow_blocks x tiles x 1.
// One workgroup of 256 an expert. Each counts all pairs for itself, which costs less than a second
// dispatch; its own pairs become bits, so that their order is that of the pairs and not of the
// threads. Shared: 15 KiB. Grid: linear.
//:include common

struct Params {
  pairs: u32,
  tile: u32,
  experts_count: u32,
  experts_offset: u32,
  plan_offset: u32,
  order_offset: u32,
  grids_offset: u32,
  wide_blocks: u32,
  narrow_blocks: u32,
}

@group(0) @binding(0) var<storage, read> experts: array<u32>;
@group(0) @binding(1) var<storage, read_write> plan: array<u32>;
@group(0) @binding(2) var<uniform> params: Params;

const kWords = 2048u;
const kPass = 65536u;  // pairs whose bits fit
const kAhead = {{AHEAD}}u;  // loads that are under way at a time

var<workgroup> counts: array<atomic<u32>, 1024>;
var<workgroup> bits: array<atomic<u32>, 2048>;
var<workgroup> sums: array<vec3<u32>, 256>;

fn expert_of(pair: u32) -> u32 {
  return min(experts[params.experts_offset + min(pair, params.pairs - 1u)], params.experts_count - 1u);
}

fn count(pair: u32, is: u32, expert: u32) {
  if (pair < params.pairs) {
    atomicAdd(&counts[is], 1u);
    if (is == expert && pair < kPass) {
      atomicOr(&bits[pair >> 5u], 1u << (pair & 31u));
    }
  }
}

fn write_grid(at: u32, blocks: u32, tiles: u32) {
  plan[at] = blocks;
  plan[at + 1u] = tiles;
  plan[at + 2u] = 1u;
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>,
        @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let expert = workgroup_index(group, groups);
  if (expert >= params.experts_count) {
    return;
  }
  for (var e = thread; e < params.experts_count; e += 256u) {
    atomicStore(&counts[e], 0u);
  }
  for (var i = thread; i < kWords; i += 256u) {
    atomicStore(&bits[i], 0u);
  }
  workgroupBarrier();
  for (var p = thread; p < params.pairs; p += 256u * kAhead) {
    var e: array<u32, kAhead>;
    for (var i = 0u; i < kAhead; i++) {
      e[i] = expert_of(p + i * 256u);
    }
    for (var i = 0u; i < kAhead; i++) {
      count(p + i * 256u, e[i], expert);
    }
  }
  workgroupBarrier();

  // Pairs and tiles of the experts before this one, and the tiles of all.
  var sum = vec3<u32>(0u);
  for (var e = thread; e < params.experts_count; e += 256u) {
    let count = atomicLoad(&counts[e]);
    let tiles = (count + params.tile - 1u) / params.tile;
    sum += vec3<u32>(select(vec2<u32>(0u), vec2<u32>(count, tiles), e < expert), tiles);
  }
  sums[thread] = sum;
  for (var step = 128u; step > 0u; step /= 2u) {
    workgroupBarrier();
    if (thread < step) {
      sums[thread] += sums[thread + step];
    }
  }
  workgroupBarrier();
  let start = sums[0];
  workgroupBarrier();
  let mine = atomicLoad(&counts[expert]);
  if (expert == 0u && thread == 0u) {
    plan[params.plan_offset] = start.z;
    write_grid(params.grids_offset, params.wide_blocks, start.z);
    write_grid(params.grids_offset + 3u, params.narrow_blocks, start.z);
  }
  for (var done = thread * params.tile; done < mine; done += 256u * params.tile) {
    let at = params.plan_offset + 1u + (start.y + done / params.tile) * 3u;
    plan[at] = expert;
    plan[at + 1u] = start.x + done;
    plan[at + 2u] = min(params.tile, mine - done);
  }

  var position = params.order_offset + start.x;
  for (var base = 0u; base < params.pairs; base += kPass) {
    if (base > 0u) {
      for (var i = thread; i < kWords; i += 256u) {
        atomicStore(&bits[i], 0u);
      }
      workgroupBarrier();
      for (var p = base + thread; p < min(params.pairs, base + kPass); p += 256u) {
        if (expert_of(p) == expert) {
          atomicOr(&bits[(p - base) >> 5u], 1u << (p & 31u));
        }
      }
      workgroupBarrier();
    }
    // Eight words a thread; sums[].x becomes the number of pairs up to and with this thread's.
    var own = 0u;
    for (var i = thread * 8u; i < thread * 8u + 8u; i++) {
      own += countOneBits(atomicLoad(&bits[i]));
    }
    sums[thread].x = own;
    workgroupBarrier();
    for (var step = 1u; step < 256u; step *= 2u) {
      var before = 0u;
      if (thread >= step) {
        before = sums[thread - step].x;
      }
      workgroupBarrier();
      sums[thread].x += before;
      workgroupBarrier();
    }
    var at = position + sums[thread].x - own;
    for (var i = thread * 8u; i < thread * 8u + 8u; i++) {
      var word = atomicLoad(&bits[i]);
      while (word != 0u) {
        plan[at] = base + i * 32u + countTrailingZeros(word);
        at++;
        word &= word - 1u;
      }
    }
    position += sums[255].x;
    workgroupBarrier();
  }
}
