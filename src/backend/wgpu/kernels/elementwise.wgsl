// elementwise: y = {{EXPRESSION}} of x, or of x and y (BINARY), with the scalars a and b.
// F32, BF16 and F16 in any mix, computed in F32; INT_I32, INT_U32: integers alike. Any strides.
@group(0) @binding(0) var<storage, read> input0: array<u32>;
//:if BINARY
@group(0) @binding(1) var<storage, read> input1: array<u32>;
//:end
//:include walk
//:include math

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

//:if BINARY
fn compute(x: Value, y: Value) -> Value {
//:else
fn compute(x: Value, a: f32, b: f32) -> Value {
//:end
  return {{EXPRESSION}};
}

fn element_bits(at: vec4<u32>) -> u32 {
  let x0 = value_from(params.kinds.x, input0[word_index(params.kinds.x, at.x)], at.x);
//:if BINARY
  let x1 = value_from(params.kinds.y, input1[word_index(params.kinds.y, at.y)], at.y);
  let result = compute(x0, x1);
//:else
  let result = compute(x0, params.a, params.b);
//:end
//:if REAL
//:if Y_WORD
  return bitcast<u32>(result);
//:else
  return half_from_real(params.kinds.w, result);
//:end
//:else
  return bitcast<u32>(result);
//:end
}
