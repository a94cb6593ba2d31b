// attention_walk: how a team of attention_step goes over cached positions: the next keys and values are on
// their way while it works on some. Needs attention_step_io.wgsl, kAhead, kTeams and kLowest.

// What a team knows of the keys that it took so far: a lane keeps the maximum and the denominator of
// head_of(lane).
struct Sums {
  highest: f32,
  sum: f32,
  acc: array<Eight, {{HEADS}}>,
}

// Keys and values that are on their way.
struct Ahead {
  key: array<Raw, {{AHEAD}}>,
  value: array<Raw, {{AHEAD}}>,
}

// The keys and values of a team from position `at` on, the range's last one again past its end.
fn fetch_ahead(ahead: ptr<function, Ahead>, at: u32, range: Range, place: Place, recent: bool) {
  for (var i = 0u; i < kAhead; i++) {
    let position = min(at + i * kTeams + place.team, max(range.end, 1u) - 1u);
    let row = row_of(place, position, recent);
    (*ahead).key[i] = fetch(0u, row, place.spot, recent);
    (*ahead).value[i] = fetch(1u, row, place.spot, recent);
  }
}

// Adds the positions of a range, the first of which are on their way. Where a sum of products could be
// rounded in two ways it says which: each variant of the kernel is to give the same bits.
fn walk(range: Range, place: Place, recent: bool, query: ptr<function, array<Eight, {{HEADS}}>>,
        ahead: ptr<function, Ahead>, so_far: ptr<function, Sums>, lane: u32, base: u32) {
  for (var at = range.begin; at < range.end; at += kTeams * kAhead) {
    let here = *ahead;
    fetch_ahead(ahead, at + kAhead * kTeams, range, place, recent);
    var dots: array<f32, {{HEADS}}>;
    var scores: array<f32, {{AHEAD}}>;
    var now = (*so_far).highest;
    for (var i = 0u; i < kAhead; i++) {
      let eight = unpacked(here.key[i], place.spot, recent);
      for (var h = 0u; h < kHeads; h++) {
        dots[h] = dot8(eight, (*query)[h]);
      }
      let score = sum_heads(dots, lane);
      scores[i] = select(kLowest, score, at + i * kTeams + place.team < range.end);
      now = max(now, scores[i]);
    }
    let fade = select(0.0, exp(max((*so_far).highest - now, -80.0)), (*so_far).highest > kLowest);
    (*so_far).highest = now;
    var parts = 0.0;
    for (var h = 0u; h < kHeads; h++) {
      (*so_far).acc[h] = scaled((*so_far).acc[h], subgroupShuffle(fade, base + lane_of(h)));
    }
    for (var i = 0u; i < kAhead; i++) {
      let part = select(0.0, exp(max(scores[i] - now, -80.0)),
                        at + i * kTeams + place.team < range.end);
      parts += part;
      let eight = unpacked(here.value[i], place.spot, recent);
      for (var h = 0u; h < kHeads; h++) {
        let by = subgroupShuffle(part, base + lane_of(h));
        (*so_far).acc[h] = plus_scaled(eight, by, (*so_far).acc[h]);
      }
    }
    (*so_far).sum = fma((*so_far).sum, fade, parts);
  }
}
