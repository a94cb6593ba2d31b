// matrix_tile: F16 tiles in workgroup memory for subgroup matrices (Dawn only: buffer views).
// A tile row holds 64 columns and is padded to 72, so that the rows of a matrix meet no bank twice.
// Threads move pieces of eight columns. The same memory later holds F32 sums: {{MEMORY}} bytes.
// F16 holds 40 powers of two, BF16 and F32 hold 254: a row is multiplied by a power of two that
// brings its largest element to [2^14, 2^15), and the sum is multiplied back.

const kStep = 64u;
const kPitch = 72u;
const kMemory = {{MEMORY}}u;

var<workgroup> memory: buffer<{{MEMORY}}>;

// Writes columns 8 piece .. 8 piece + 7 of a tile row. Stores are 8 bytes wide; odd pieces begin with
// their second half, so that the threads of one store meet no bank twice.
fn put(row: u32, piece: u32, values: vec4<u32>) {
  let words = bufferView<array<vec2<u32>, kMemory / 8u>>(&memory, 0);
  let at = row * (kPitch / 4u) + piece * 2u;
  let odd = piece & 1u;
  words[at + odd] = select(values.xy, values.zw, odd == 1u);
  words[at + 1u - odd] = select(values.zw, values.xy, odd == 1u);
}

fn f16_of_bf16_pair(word: u32, scale: f32) -> u32 {
  return pack2x16float(vec2<f32>(bitcast<f32>(word << 16u), bitcast<f32>(word & 0xffff0000u)) * scale);
}

// Eight BF16 times a power of two as F16; exact where the result is in range.
fn f16_of_bf16(values: vec4<u32>, scale: f32) -> vec4<u32> {
  return vec4<u32>(f16_of_bf16_pair(values.x, scale), f16_of_bf16_pair(values.y, scale),
                   f16_of_bf16_pair(values.z, scale), f16_of_bf16_pair(values.w, scale));
}

// 2^e for -126 <= e <= 127.
fn power_of_two(e: i32) -> f32 {
  return bitcast<f32>(u32(e + 127) << 23u);
}

// sum * 2^e; the power itself may be out of range.
fn scaled(sum: f32, e: i32) -> f32 {
  let half = e / 2;
  return sum * power_of_two(half) * power_of_two(e - half);
}
