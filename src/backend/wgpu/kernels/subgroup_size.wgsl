// subgroup_size: writes the size of a subgroup, which wgpu-native does not tell. One workgroup of 64.
// SUBGROUPS is defined by the caller: nothing is known about the device yet.
struct Params { unused: u32 }
@group(0) @binding(0) var<storage, read_write> y: array<u32>;
@group(0) @binding(1) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) thread: u32, @builtin(subgroup_size) size: u32) {
  if (thread == 0u) {
    y[0] = size + params.unused;
  }
}
