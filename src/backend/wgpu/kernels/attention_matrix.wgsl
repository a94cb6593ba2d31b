// attention_matrix: attention_prefill on matrix cores, in the fast class: scaled queries, keys,
// values and shares count with one F16 term each, sums and maxima are F32. Operands, params and the
// numbering of rows as in attention_prefill; dim <= 128, or 64 without WIDE. 128 rows share every
// tile of 32 keys and values, the next of which is on its way meanwhile. Workgroup 256 = 8 subgroups
// of 32, 16 rows each: queries and results stay in registers, scores and shares go through workgroup
// memory, two threads a row. Results are relative to a reference that a row's maximum may exceed by
// kSlack before they are scaled anew, which hardly ever happens; shares are powers of two. Shared:
// 45.5 KiB. No infinities. Grid: linear over tiles, long ones first, and key/value heads.
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
    let whole = run == token_of(first_row, 0u, per_kv) && here.after > last_token;
    let page_row = params.pages_offset + here.sequence * params.max_pages;
    var next = fetch_tile(here.low, here, page_row, kv_head, thread);
    for (var at = here.low; at < here.high; at += kKeys) {
      workgroupBarrier();
      put_tile(next, thread);
      workgroupBarrier();
      next = fetch_tile(at + kKeys, here, page_row, kv_head, thread);
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
      // Most tiles are seen by all rows.
      if (!whole || at < here.sure_low || at + kKeys > here.sure_high) {
        for (var i = 0u; i < 4u; i++) {
          let places = vec4<u32>(0u, 1u, 2u, 3u) + (at + side + 4u * i);
          let seen = vec4<bool>(mine) & (places >= vec4<u32>(begin)) & (places < vec4<u32>(end));
          parts[i] = select(vec4<f32>(kLowest), parts[i], seen);
        }
      }
      let fours = max(max(parts[0], parts[1]), max(parts[2], parts[3]));
      var now = max(max(fours.x, fours.y), max(fours.z, fours.w));
      now = max(now, subgroupShuffleXor(now, 1u));
      let rises = now > reference + kSlack;
      let fades = rises && reference > kLowest;
      let fade = select(1.0, exp2(max(reference - now, -120.0)), fades);
      if (fades) {
        atomicStore(&stale[0], 1u);
      }
      reference = select(reference, now, rises);
      sum *= fade;
      let below = max(reference, -1.0e30);  // so that what is not seen lies far below
      for (var i = 0u; i < 4u; i++) {
        parts[i] = exp2(max(parts[i] - below, vec4<f32>(-120.0)));
        sum += (parts[i].x + parts[i].y) + (parts[i].z + parts[i].w);
      }
      put_shares(kShares + row * kSharePitch + side, parts[0], parts[1]);
      put_shares(kShares + row * kSharePitch + side + 8u, parts[2], parts[3]);
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
