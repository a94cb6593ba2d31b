// moe_group: sorts the pairs (token, expert) by expert for moe_tile and cuts each expert's list into
// tiles of at most {{TILE}} pairs.
// experts: u32 [pairs], each < experts_count <= 1024. plan: u32, first the number of tiles, then per
// tile {expert, first position, pairs}, then from order_offset on the pairs in order of experts.
// The order inside one expert varies from run to run; nothing depends on it.
// One workgroup of 256. Shared: 8 KiB.

struct Params {
  pairs: u32,
  experts_count: u32,
  experts_offset: u32,
  plan_offset: u32,
  order_offset: u32,
}

@group(0) @binding(0) var<storage, read> experts: array<u32>;
@group(0) @binding(1) var<storage, read_write> plan: array<u32>;
@group(0) @binding(2) var<uniform> params: Params;

const kTile = {{TILE}}u;

var<workgroup> counts: array<atomic<u32>, 1024>;
var<workgroup> next: array<atomic<u32>, 1024>;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) thread: u32) {
  for (var e = thread; e < 1024u; e += 256u) {
    atomicStore(&counts[e], 0u);
  }
  workgroupBarrier();
  for (var p = thread; p < params.pairs; p += 256u) {
    atomicAdd(&counts[min(experts[params.experts_offset + p], 1023u)], 1u);
  }
  workgroupBarrier();
  if (thread == 0u) {
    var position = 0u;
    var tiles = 0u;
    for (var e = 0u; e < params.experts_count; e++) {
      let count = atomicLoad(&counts[e]);
      atomicStore(&next[e], position);
      for (var done = 0u; done < count; done += kTile) {
        let at = params.plan_offset + 1u + tiles * 3u;
        plan[at] = e;
        plan[at + 1u] = position + done;
        plan[at + 2u] = min(kTile, count - done);
        tiles += 1u;
      }
      position += count;
    }
    plan[params.plan_offset] = tiles;
  }
  workgroupBarrier();
  for (var p = thread; p < params.pairs; p += 256u) {
    let e = min(experts[params.experts_offset + p], 1023u);
    plan[params.order_offset + atomicAdd(&next[e], 1u)] = p;
  }
}
