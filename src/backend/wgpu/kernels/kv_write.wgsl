// kv_write: cache[slots[t] / page, h, slots[t] % page, :] = x[t, h, :], rounded to nearest even.
// x: f32 [tokens, kv_heads, dim]; slots: u32 [tokens]; cache: F32, BF16, F16 (numbers beyond its range
// become its largest) or Q8_16, contiguous.
// A thread writes one element of an F32 cache (KV_F32), one word of a BF16 or F16 cache (KV_BF16 or KV_F16,
// KV_PAIRS) or one block of a Q8_16 cache (KV_Q8_16). Rows of BF16 and F16 that may begin inside a word
// (KV_ATOMIC) share words with those of other threads: halves of words are set by atomics.
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
//:if KV_ATOMIC
@group(0) @binding(2) var<storage, read_write> cache: array<atomic<u32>>;

fn put_half(at: u32, half: u32) {
  let shift = (at & 1u) << 4u;
  atomicAnd(&cache[at >> 1u], 0xffff0000u >> shift);
  atomicOr(&cache[at >> 1u], half << shift);
}
//:else
@group(0) @binding(2) var<storage, read_write> cache: array<u32>;
//:end
@group(0) @binding(3) var<uniform> params: Params;

//:if KV_F16
fn half_bits(value: f32) -> u32 {
  return f32_to_f16(clamp(value, -65504.0, 65504.0));
}
//:end
//:if KV_BF16
fn half_bits(value: f32) -> u32 {
  return f32_to_bf16(value);
}
//:end
//:if KV_Q8_16
fn x4(at: u32) -> vec4<f32> {
  return vec4<f32>(x[at], x[at + params.x_dim], x[at + 2u * params.x_dim],
                   x[at + 3u * params.x_dim]);
}

// Sixteen elements from `source` on to four words from `to` on; returns their F16 scale.
fn put_half_block(to: u32, source: u32) -> u32 {
  var top = vec4<f32>(0.0);
  for (var i = 0u; i < 16u; i += 4u) {
    top = max(top, abs(x4(source + i * params.x_dim)));
  }
  let scale = f32_to_f16(min(max(max(top.x, top.y), max(top.z, top.w)) / 127.0, 65504.0));
  let step = f16_to_f32(scale);
  let by = select(0.0, 1.0 / max(step, 1.0e-30), step > 0.0);
  for (var i = 0u; i < 16u; i += 4u) {
    let q = clamp(round(by * x4(source + i * params.x_dim)), vec4<f32>(-127.0), vec4<f32>(127.0));
    cache[to + i / 4u] = pack4xI8(vec4<i32>(q));
  }
  return scale;
}
//:end

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>,
        @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  var width = params.dim;
//:if KV_PAIRS
  width /= 2u;
//:end
//:if KV_Q8_16
  width /= 32u;
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
//:if KV_ATOMIC
      put_half(row + d, half_bits(x[source + d * params.x_dim]));
//:end
//:if KV_PAIRS
      cache[(row >> 1u) + d] = half_bits(x[source + 2u * d * params.x_dim]) |
                               (half_bits(x[source + (2u * d + 1u) * params.x_dim]) << 16u);
//:end
//:if KV_F32
      cache[row + d] = bitcast<u32>(x[source + d * params.x_dim]);
//:end
//:if KV_Q8_16
      let block = (row / 32u + d) * 9u;
      let from_x = source + 32u * d * params.x_dim;
      let first = put_half_block(block + 1u, from_x);
      cache[block] = first | (put_half_block(block + 5u, from_x + 16u * params.x_dim) << 16u);
//:end
    }
  }
}
