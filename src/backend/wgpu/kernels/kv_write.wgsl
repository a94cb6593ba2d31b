// kv_write: cache[slots[t] / page, h, slots[t] % page, :] = x[t, h, :], rounded to nearest even for
// BF16. x: f32 [tokens, kv_heads, dim]; slots: u32 [tokens]; cache: F32 or (KV_BF16) BF16, contiguous.
// A thread writes one element of an F32 cache or one word of a BF16 cache. KV_ODD: rows may begin
// inside a word, whose halves then belong to different threads and are set by atomics.
// Workgroup 256. Grid: linear.
//:include common
//:include bf16

struct Params {
  tokens: u32,
  kv_heads: u32,
  dim: u32,
  page: u32,
  pages: u32,
  x_offset: u32,
  x_token: u32,
  x_head: u32,
  x_dim: u32,
  slots_offset: u32,
  cache_offset: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> slots: array<u32>;
//:if KV_ODD
@group(0) @binding(2) var<storage, read_write> cache: array<atomic<u32>>;
//:else
@group(0) @binding(2) var<storage, read_write> cache: array<u32>;
//:end
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>,
        @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
//:if KV_BF16
//:if KV_ODD
  let width = params.dim;
//:else
  let width = params.dim / 2u;
//:end
//:else
  let width = params.dim;
//:end
  let index = workgroup_index(group, groups) * 256u + thread;
  if (index < params.tokens * params.kv_heads * width) {
    let d = index % width;
    let head = index / width % params.kv_heads;
    let t = index / width / params.kv_heads;
    let slot = slots[params.slots_offset + t];
    let row = params.cache_offset +
              ((slot / params.page * params.kv_heads + head) * params.page + slot % params.page) *
              params.dim;
    let source = params.x_offset + t * params.x_token + head * params.x_head;
    if (slot / params.page < params.pages) {
//:if KV_BF16
//:if KV_ODD
      let shift = ((row + d) & 1u) << 4u;
      let value = f32_to_bf16(x[source + d * params.x_dim]);
      atomicAnd(&cache[(row + d) >> 1u], 0xffff0000u >> shift);
      atomicOr(&cache[(row + d) >> 1u], value << shift);
//:else
      cache[(row >> 1u) + d] = f32_to_bf16(x[source + 2u * d * params.x_dim]) |
                               (f32_to_bf16(x[source + (2u * d + 1u) * params.x_dim]) << 16u);
//:end
//:else
      cache[row + d] = bitcast<u32>(x[source + d * params.x_dim]);
//:end
    }
  }
}
