// common: numbers of workgroups, and elements of strided tensors.

/// Number of this workgroup in a grid made by grid_for; may exceed the count by less than a row.
fn workgroup_index(id: vec3<u32>, counts: vec3<u32>) -> u32 {
  return id.x + counts.x * (id.y + counts.y * id.z);
}

/// Up to six numbers, innermost dimension first; the rest is 1 for sizes and 0 for strides.
struct Six {
  a: vec4<u32>,
  b: vec4<u32>,
}

/// Offset, in elements, of element `index` of a tensor of these sizes (row-major order) that lies
/// with these strides.
fn strided(index: u32, sizes: Six, strides: Six, rank: u32) -> u32 {
  var rest = index;
  var at = 0u;
  for (var d = 0u; d + 1u < min(rank, 6u); d++) {
    var size = sizes.a[d & 3u];
    var stride = strides.a[d & 3u];
    if (d >= 4u) {
      size = sizes.b[d & 3u];
      stride = strides.b[d & 3u];
    }
    let next = rest / size;
    at += (rest - next * size) * stride;
    rest = next;
  }
  // The outermost dimension needs no division.
  let last = min(max(rank, 1u), 6u) - 1u;
  let outer = select(strides.a[last & 3u], strides.b[last & 3u], last >= 4u);
  return at + rest * outer;
}
