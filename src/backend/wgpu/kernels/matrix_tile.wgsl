// matrix_tile: F16 tiles in workgroup memory for subgroup matrices (Dawn only: buffer views).
// A tile row holds 64 columns and is padded to 72, so that the rows of a matrix meet no bank twice.
// Threads move pieces of eight columns. The same memory later holds F32 sums: {{MEMORY}} bytes.
//:include matrix_scale

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
