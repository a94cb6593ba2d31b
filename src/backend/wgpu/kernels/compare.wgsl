// compare: y = 1 where x0 {{OPERATOR}} x1, else 0; y U32. Floats in any mix (REAL) or integers alike.
// Any strides.
@group(0) @binding(0) var<storage, read> input0: array<u32>;
@group(0) @binding(1) var<storage, read> input1: array<u32>;
//:include walk

//:if INT_I32
alias Value = i32;
//:end
//:if INT_U32
alias Value = u32;
//:end
//:if REAL
alias Value = f32;
//:end

fn value_from(kind: u32, word: u32, at: u32) -> Value {
//:if REAL
  return real_from_bits(kind, bits_in_word(kind, word, at));
//:else
  return bitcast<Value>(word);
//:end
}

fn element_bits(at: vec4<u32>) -> u32 {
  let x0 = value_from(params.kinds.x, input0[word_index(params.kinds.x, at.x)], at.x);
  let x1 = value_from(params.kinds.y, input1[word_index(params.kinds.y, at.y)], at.y);
  return select(0u, 1u, x0 {{OPERATOR}} x1);
}
