// snake_beta: y = x + sin(exp(alpha) x)^2 / (exp(beta) + 1e-9). x0: x; x1, x2: alpha and beta, broadcast
// along time; F32, F16 or BF16 each. Source: SnakeBeta of Qwen3-Omni's code2wav.
@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read> alpha: array<u32>;
@group(0) @binding(2) var<storage, read> beta: array<u32>;
//:include walk
//:include math

fn element_bits(at: vec4<u32>) -> u32 {
  let k = params.kinds;
  let v = real_from_bits(k.x, bits_in_word(k.x, x[word_index(k.x, at.x)], at.x));
  let a = real_from_bits(k.y, bits_in_word(k.y, alpha[word_index(k.y, at.y)], at.y));
  let b = real_from_bits(k.z, bits_in_word(k.z, beta[word_index(k.z, at.z)], at.z));
  let s = sin_wide(exp(a) * v);
  let result = v + s * s / (exp(b) + 1.0e-9);
//:if Y_WORD
  return bitcast<u32>(result);
//:else
  return half_from_real(k.w, result);
//:end
}
