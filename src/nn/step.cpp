#include "nn/step.h"

#include <algorithm>

#include "base/assert.h"

namespace candela::nn {

namespace {

/// The parts of the packed upload, in the order in which they lie.
struct Parts {
  std::vector<uint32_t> ids, positions, slots, recent_slots, spans, pages, logit_rows;
};

void add_row(Parts& parts, const StepRow& row, uint32_t sequence_row) {
  const auto count = static_cast<int64_t>(row.ids.size());
  CANDELA_ASSERT(count > 0, "a step row has no tokens");
  for (int64_t i = 0; i < count; ++i) {
    const int64_t position = row.sequence->length + i;
    parts.positions.push_back(static_cast<uint32_t>(position));
    parts.slots.push_back(static_cast<uint32_t>(KvCache::slot_of(*row.sequence, position)));
    parts.recent_slots.push_back(
        static_cast<uint32_t>(KvCache::recent_slot_of(*row.sequence, position)));
    parts.spans.insert(parts.spans.end(), {0u, static_cast<uint32_t>(position + 1), sequence_row});
    if (row.all_logits || i == count - 1) {
      parts.logit_rows.push_back(static_cast<uint32_t>(parts.ids.size()));
    }
    parts.ids.push_back(row.ids[static_cast<size_t>(i)]);
  }
}

}  // namespace

Step Step::pack(std::span<const StepRow> rows, KvCache& cache, const Device& device) {
  Step step;
  Parts parts;
  size_t max_pages = 1;
  for (const StepRow& row : rows) {
    const int64_t length = row.sequence->length + static_cast<int64_t>(row.ids.size());
    cache.reserve(*row.sequence, length);
    max_pages = std::max(max_pages, row.sequence->pages.size());
    step.max_span = std::max(step.max_span, length);
    add_row(parts, row, static_cast<uint32_t>(&row - rows.data()));
  }
  for (const StepRow& row : rows) {
    const std::vector<uint32_t> own = KvCache::page_table(*row.sequence);
    parts.pages.insert(parts.pages.end(), own.begin(), own.end());
    parts.pages.resize(static_cast<size_t>(&row - rows.data() + 1) * max_pages, 0u);
  }
  step.tokens = static_cast<int64_t>(parts.ids.size());
  step.lone = parts.ids.size() == rows.size();
  step.every_row = parts.logit_rows.size() == parts.ids.size();

  std::vector<uint32_t> packed;
  for (const auto* part : {&parts.ids, &parts.positions, &parts.slots, &parts.recent_slots,
                           &parts.spans, &parts.pages, &parts.logit_rows}) {
    packed.insert(packed.end(), part->begin(), part->end());
  }
  const Tensor all = Tensor::from_vector(packed, {static_cast<int64_t>(packed.size())}, device);
  int64_t at = 0;
  const auto take = [&](const std::vector<uint32_t>& part) {
    const auto length = static_cast<int64_t>(part.size());
    at += length;
    return all.narrow(0, at - length, length);
  };
  step.ids = take(parts.ids);
  step.positions = take(parts.positions);
  step.slots = take(parts.slots);
  step.recent_slots = take(parts.recent_slots);
  step.spans = take(parts.spans).reshape({step.tokens, 3});
  step.pages = take(parts.pages)
                   .reshape({static_cast<int64_t>(rows.size()), static_cast<int64_t>(max_pages)});
  step.logit_rows = take(parts.logit_rows);
  return step;
}

}  // namespace candela::nn
