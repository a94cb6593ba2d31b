// matrix_scale: numbers of wide range for matrix cores. F16 holds 40 powers of two, BF16 and F32 hold
// 254: a row is multiplied by a power of two that brings its largest element to [2^14, 2^15), and the
// sum is multiplied back.

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
