// rank_experts: the experts of one token, best first, for kernels whose every workgroup ranks them itself.
// Needs the binding `logits`, array<f32>, the token's from `row` on; {{EXPERTS}} and {{K}}: how many there are
// and how many are used. Ties go to the lower index. Weights: softmax over all experts or, under
// NORMALIZE, over the used ones.

const kLowest = -3.0e38;

struct Ranked {
  expert: u32,  // of rank `slot`
  own: u32,     // of rank `mine`, and
  weight: f32,  // its weight, if all that are used were asked for
}

//:if SUBGROUPS
// Every subgroup finds the first `count` by itself, one after the other, without a barrier. A lane looks
// at every `lanes`th expert, at most 32 of them.
fn rank_experts(row: u32, slot: u32, count: u32, mine: u32, lane: u32, lanes: u32) -> Ranked {
  var ranked = Ranked(0u, 0u, 0.0);
  var taken = 0u;
  var highest = 0.0;
  var total = 0.0;
  for (var rank = 0u; rank < count; rank++) {
    var value = kLowest;
    var expert = 0xffffffffu;
    for (var i = 0u; i * lanes + lane < {{EXPERTS}}; i++) {
      let other = logits[row + i * lanes + lane];
      if (((taken >> i) & 1u) == 0u && other > value) {
        value = other;
        expert = i * lanes + lane;
      }
    }
    let best = subgroupMax(value);
    expert = min(subgroupMin(select(0xffffffffu, expert, value == best)), {{EXPERTS}} - 1u);
    taken |= select(0u, 1u << (expert / lanes), expert % lanes == lane);
    highest = select(highest, best, rank == 0u);
    let share = exp(max(best - highest, -80.0));
    total += share;
    if (rank == slot) {
      ranked.expert = expert;
    }
    if (rank == mine) {
      ranked.own = expert;
      ranked.weight = share;
    }
  }
//:if NORMALIZE
//:else
  total = 0.0;
  for (var i = lane; i < {{EXPERTS}}; i += lanes) {
    total += exp(max(logits[row + i] - highest, -80.0));
  }
  total = subgroupAdd(total);
//:end
  ranked.weight /= total;
  return ranked;
}
//:else
var<workgroup> values: array<f32, 256>;
var<workgroup> chosen: array<u32, 64>;
var<workgroup> best: array<f32, 64>;

// Each thread counts the logits that are larger than its own.
fn rank_experts(row: u32, slot: u32, count: u32, thread: u32) -> Ranked {
  let mine = select(kLowest, logits[row + min(thread, {{EXPERTS}} - 1u)],
                    thread < {{EXPERTS}});
  values[thread] = mine;
  workgroupBarrier();
  var rank = 0u;
  for (var i = 0u; i < {{EXPERTS}}; i++) {
    let other = values[i];
    rank += select(0u, 1u, other > mine || (other == mine && i < thread));
  }
  if (thread < {{EXPERTS}} && rank < {{K}}) {
    chosen[rank] = thread;
    best[rank] = mine;
  }
  workgroupBarrier();
  var total = 0.0;
//:if NORMALIZE
  for (var i = 0u; i < count; i++) {
    total += exp(max(best[i] - best[0], -80.0));
  }
//:else
  for (var i = 0u; i < {{EXPERTS}}; i++) {
    total += exp(max(values[i] - best[0], -80.0));
  }
//:end
  let own = min(thread, {{K}} - 1u);
  return Ranked(chosen[slot], chosen[own], exp(max(best[own] - best[0], -80.0)) / total);
}
//:end
