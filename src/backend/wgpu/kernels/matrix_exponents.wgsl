// matrix_exponents: e[r] of BF16 weight rows: the largest element of w[r, :] * 2^-e[r] lies in
// [2^14, 2^15), see matrix_tile. w: rows that begin at multiples of 16 bytes, of whole groups of eight.
// One workgroup of 64 a row. Shared: 256 bytes. Runs once for each weight.
//:include common

struct Params {
  rows: u32,
  cols: u32,
  start: u32,        // of the first row, in elements
}

@group(0) @binding(0) var<storage, read> w: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> exponents: array<i32>;
@group(0) @binding(2) var<uniform> params: Params;

var<workgroup> partial: array<u32, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>,
        @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let number = workgroup_index(group, groups);
  let row = min(number, params.rows - 1u);
  let start = (params.start + row * params.cols) >> 3u;
  var largest = vec4<u32>(0u);
  for (var i = thread; i < params.cols / 8u; i += 64u) {
    let q = w[start + i];
    largest = max(largest, max(q & vec4<u32>(0x7fffu), (q >> vec4<u32>(16u)) & vec4<u32>(0x7fffu)));
  }
  partial[thread] = max(max(largest.x, largest.y), max(largest.z, largest.w));
  for (var step = 32u; step > 0u; step /= 2u) {
    workgroupBarrier();
    if (thread < step) {
      partial[thread] = max(partial[thread], partial[thread + step]);
    }
  }
  if (thread == 0u && number < params.rows) {
    exponents[row] = max(i32(partial[0] >> 7u) - 141, -126);
  }
}
