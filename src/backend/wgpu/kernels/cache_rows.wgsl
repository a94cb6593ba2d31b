// cache_rows: keys and values of a paged cache, for kernels with the operands and params of
// attention_decode: matrix 0 of weight.wgsl holds the keys, matrix 1 the values. RECENT: a Q8_16 cache
// whose newest pages are F16; they lie in the same buffers, from elements k_recent and v_recent on, and
// their numbers have a flag. So have their rows, which are counted in words.

//:if RECENT
const kRecent = 0x80000000u;

fn recent_row(start: u32, page: u32, kv_head: u32, slot: u32) -> u32 {
  let row = ((page & ~kRecent) * params.kv_heads + kv_head) * params.page + slot;
  return kRecent | ((start + row * params.dim) >> 1u);
}
//:end

// Where the key at a slot of a page begins.
fn key_row(page: u32, kv_head: u32, slot: u32) -> u32 {
//:if RECENT
  if ((page & kRecent) != 0u) {
    return recent_row(params.k_recent, page, kv_head, slot);
  }
//:end
  return params.k_offset + page * params.k_page + kv_head * params.k_head + slot * params.k_slot;
}

fn value_row(page: u32, kv_head: u32, slot: u32) -> u32 {
//:if RECENT
  if ((page & kRecent) != 0u) {
    return recent_row(params.v_recent, page, kv_head, slot);
  }
//:end
  return params.v_offset + page * params.v_page + kv_head * params.v_head + slot * params.v_slot;
}

// Eight elements from d on of a row of matrix `which`.
fn cached8(which: u32, row: u32, d: u32) -> Eight {
//:if RECENT
  if ((row & kRecent) != 0u) {
    let i = (row & ~kRecent) + (d >> 1u);
    return eight_f16(vec4<u32>(w_word(which, i), w_word(which, i + 1u), w_word(which, i + 2u),
                               w_word(which, i + 3u)));
  }
//:end
  return weight8(which, row, d, params.dim);
}
