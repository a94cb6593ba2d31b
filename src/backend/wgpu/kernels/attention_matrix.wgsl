// attention_matrix: attention_prefill on matrix cores, in the fast class: scaled queries, keys,
// values and shares count with one F16 term each, sums and maxima are F32. Operands, params and the
// numbering of rows as in attention_prefill; dim <= 128, or 64 without WIDE. 128 rows share every
// tile of 32 keys and values. Workgroup 256 = 8 subgroups of 32, 16 rows each: queries and results
// stay in registers, scores and shares go through workgroup memory, two threads a row. Results are
// relative to a reference that a row's maximum may exceed by kSlack before they are scaled anew,
// which hardly ever happens. Shared: 45.5 KiB. No infinities. Grid: linear over tiles, long ones
// first, and key/value heads.
//:include common
//:include weight
//:include attention_tiles
//:include attention_matrix_io

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>,
        @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(subgroup_id) warp: u32,
        @builtin(subgroup_invocation_id) place: u32) {
  let thread = warp * 32u + place;
  let per_kv = params.heads / params.kv_heads;
  let rows = params.tokens * per_kv;
  let tiles = (rows + kRows - 1u) / kRows;
  let number = workgroup_index(group, groups);
  let index = min(number, tiles * params.kv_heads - 1u);
  let kv_head = index % params.kv_heads;
  let first_row = (tiles - 1u - index / params.kv_heads) * kRows;
  let last_token = token_of(first_row, kRows - 1u, per_kv);

  stage_queries(thread, first_row, rows, per_kv, kv_head, 0u);
  workgroupBarrier();
  let q0 = left_at(warp * 16u * kQueryPitch, kQueryPitch);
  let q1 = left_at(warp * 16u * kQueryPitch + 16u, kQueryPitch);
  let q2 = left_at(warp * 16u * kQueryPitch + 32u, kQueryPitch);
  let q3 = left_at(warp * 16u * kQueryPitch + 48u, kQueryPitch);
//:if WIDE
  workgroupBarrier();
  stage_queries(thread, first_row, rows, per_kv, kv_head, 64u);
  workgroupBarrier();
  let q4 = left_at(warp * 16u * kQueryPitch, kQueryPitch);
  let q5 = left_at(warp * 16u * kQueryPitch + 16u, kQueryPitch);
  let q6 = left_at(warp * 16u * kQueryPitch + 32u, kQueryPitch);
  let q7 = left_at(warp * 16u * kQueryPitch + 48u, kQueryPitch);
//:end
  var y0 = Result();
  var y1 = Result();
  var y2 = Result();
  var y3 = Result();
//:if WIDE
  var y4 = Result();
  var y5 = Result();
  var y6 = Result();
  var y7 = Result();
//:end

  // Two threads a row, sixteen keys each.
  let row = thread / 2u;
  let side = thread % 2u * 16u;
  let token = token_of(first_row, row, per_kv);
  let begin = spans[params.spans_offset + token * 3u];
  let end = max(begin, spans[params.spans_offset + token * 3u + 1u]);
  var reference = kLowest;
  var sum = 0.0;
  if (thread == 0u) {
    atomicStore(&stale[0], 0u);
  }
  var run = token_of(first_row, 0u, per_kv);
  while (run <= last_token) {
    let here = run_from(run, last_token);
    let mine = token >= run && token < here.after;
    let page_row = params.pages_offset + here.sequence * params.max_pages;
    for (var at = here.low; at < here.high; at += kKeys) {
      let position = min(at + thread / 8u, here.high - 1u);
      let page = pages[page_row + position / params.page];
      let slot = position % params.page;
      let k_row = params.k_offset + page * params.k_page + kv_head * params.k_head +
                  slot * params.k_slot;
      let v_row = params.v_offset + page * params.v_page + kv_head * params.v_head +
                  slot * params.v_slot;
      let d = thread % 8u * 8u;
      var k_low = zeros();
      var v_low = zeros();
      if (d < params.dim) {
        k_low = weight8(0u, k_row, d, params.dim);
        v_low = weight8(1u, v_row, d, params.dim);
      }
//:if WIDE
      var k_high = zeros();
      var v_high = zeros();
      if (d + 64u < params.dim) {
        k_high = weight8(0u, k_row, d + 64u, params.dim);
        v_high = weight8(1u, v_row, d + 64u, params.dim);
      }
//:end
      workgroupBarrier();
      put8(thread / 8u * kPitch + d, k_low);
      put8(kValues + thread / 8u * kPitch + d, v_low);
//:if WIDE
      put8(thread / 8u * kPitch + d + 64u, k_high);
      put8(kValues + thread / 8u * kPitch + d + 64u, v_high);
//:end
      workgroupBarrier();
      var s0 = Result();
      var s1 = Result();
      s0 = scored(q0, 0u, s0);
      s1 = scored(q0, 16u * kPitch, s1);
      s0 = scored(q1, 16u, s0);
      s1 = scored(q1, 16u * kPitch + 16u, s1);
      s0 = scored(q2, 32u, s0);
      s1 = scored(q2, 16u * kPitch + 32u, s1);
      s0 = scored(q3, 48u, s0);
      s1 = scored(q3, 16u * kPitch + 48u, s1);
//:if WIDE
      s0 = scored(q4, 64u, s0);
      s1 = scored(q4, 16u * kPitch + 64u, s1);
      s0 = scored(q5, 80u, s0);
      s1 = scored(q5, 16u * kPitch + 80u, s1);
      s0 = scored(q6, 96u, s0);
      s1 = scored(q6, 16u * kPitch + 96u, s1);
      s0 = scored(q7, 112u, s0);
      s1 = scored(q7, 16u * kPitch + 112u, s1);
//:end
      let corner = warp * 16u * kScorePitch;
      store_scores(corner, s0);
      store_scores(corner + 16u, s1);
      workgroupBarrier();
      let own = row * kScorePitch + side;
      var parts = array<vec4<f32>, 4>(score4(own), score4(own + 4u), score4(own + 8u), score4(own + 12u));
      var now = kLowest;
      for (var i = 0u; i < 4u; i++) {
        let places = vec4<u32>(0u, 1u, 2u, 3u) + (at + side + 4u * i);
        let seen = vec4<bool>(mine) & (places >= vec4<u32>(begin)) & (places < vec4<u32>(end));
        parts[i] = select(vec4<f32>(kLowest), parts[i], seen);
        now = max(now, max(max(parts[i].x, parts[i].y), max(parts[i].z, parts[i].w)));
      }
      now = max(now, subgroupShuffleXor(now, 1u));
      let total = sum + subgroupShuffleXor(sum, 1u);
      let rises = now > reference + kSlack;
      let fade = select(1.0, exp(max(reference - now, -80.0)), rises && total > 0.0);
      if (rises && total > 0.0) {
        atomicStore(&stale[0], 1u);
      }
      reference = select(reference, now, rises);
      sum *= fade;
      for (var i = 0u; i < 4u; i++) {
        parts[i] = select(vec4<f32>(0.0), exp(parts[i] - reference), parts[i] > vec4<f32>(kLowest));
        sum += (parts[i].x + parts[i].y) + (parts[i].z + parts[i].w);
      }
      put8(kShares + row * kSharePitch + side, Eight(parts[0], parts[1]));
      put8(kShares + row * kSharePitch + side + 8u, Eight(parts[2], parts[3]));
      if (workgroupUniformLoad(&stale[0]) != 0u) {
        store_scores(corner, y0);
        store_scores(corner + 16u, y1);
        workgroupBarrier();
        fade_row(row * kScorePitch + side, fade);
        workgroupBarrier();
        y0 = load_scores(corner);
        y1 = load_scores(corner + 16u);
        workgroupBarrier();
        store_scores(corner, y2);
        store_scores(corner + 16u, y3);
        workgroupBarrier();
        fade_row(row * kScorePitch + side, fade);
        workgroupBarrier();
        y2 = load_scores(corner);
        y3 = load_scores(corner + 16u);
        workgroupBarrier();
//:if WIDE
        store_scores(corner, y4);
        store_scores(corner + 16u, y5);
        workgroupBarrier();
        fade_row(row * kScorePitch + side, fade);
        workgroupBarrier();
        y4 = load_scores(corner);
        y5 = load_scores(corner + 16u);
        workgroupBarrier();
        store_scores(corner, y6);
        store_scores(corner + 16u, y7);
        workgroupBarrier();
        fade_row(row * kScorePitch + side, fade);
        workgroupBarrier();
        y6 = load_scores(corner);
        y7 = load_scores(corner + 16u);
        workgroupBarrier();
//:end
        if (thread == 0u) {
          atomicStore(&stale[0], 0u);
        }
      }
      let p0 = left_at(kShares + warp * 16u * kSharePitch, kSharePitch);
      let p1 = left_at(kShares + warp * 16u * kSharePitch + 16u, kSharePitch);
      y0 = weighed(p0, p1, 0u, y0);
      y1 = weighed(p0, p1, 16u, y1);
      y2 = weighed(p0, p1, 32u, y2);
      y3 = weighed(p0, p1, 48u, y3);
//:if WIDE
      y4 = weighed(p0, p1, 64u, y4);
      y5 = weighed(p0, p1, 80u, y5);
      y6 = weighed(p0, p1, 96u, y6);
      y7 = weighed(p0, p1, 112u, y7);
//:end
    }
    run = here.after;
  }
  let total = sum + subgroupShuffleXor(sum, 1u);
  let factor = select(0.0, 1.0 / max(total, 1.0e-30), total > 0.0);
  let live = first_row + row < rows && number < tiles * params.kv_heads;
  let to = params.y_offset + token * params.y_token +
           (kv_head * per_kv + (first_row + row) % per_kv) * params.y_head;
  let corner = warp * 16u * kScorePitch;
  workgroupBarrier();
  store_scores(corner, y0);
  store_scores(corner + 16u, y1);
  workgroupBarrier();
  store_row(to, 0u + side, row * kScorePitch + side, factor, live);
  workgroupBarrier();
  store_scores(corner, y2);
  store_scores(corner + 16u, y3);
  workgroupBarrier();
  store_row(to, 32u + side, row * kScorePitch + side, factor, live);
//:if WIDE
  workgroupBarrier();
  store_scores(corner, y4);
  store_scores(corner + 16u, y5);
  workgroupBarrier();
  store_row(to, 64u + side, row * kScorePitch + side, factor, live);
  workgroupBarrier();
  store_scores(corner, y6);
  store_scores(corner + 16u, y7);
  workgroupBarrier();
  store_row(to, 96u + side, row * kScorePitch + side, factor, live);
//:end
}
