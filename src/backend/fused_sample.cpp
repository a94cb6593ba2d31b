// Default bodies of sample and penalise: the numbers come to the host. Wait for the device.
#include <algorithm>
#include <cmath>

#include "backend/fused_ops.h"

namespace candela {

namespace {

std::vector<float> download_floats(Backend& backend, const View& x) {
  const View gapless = fused::to_f32(backend, x);
  std::vector<float> values(static_cast<size_t>(gapless.elements()));
  backend.download(gapless.storage, 0, std::as_writable_bytes(std::span(values)));
  return values;
}

/// Index of the candidate that the settings draw; values are sorted, largest first.
size_t draw(std::span<const float> values, std::span<const float> settings) {
  const double temperature = settings[0];
  if (temperature == 0.0) {
    return 0;
  }
  const auto most = static_cast<size_t>(std::max(settings[1], 1.0f));
  std::vector<double> shares(std::min(values.size(), most));
  double sum = 0.0;
  for (size_t i = 0; i < shares.size(); ++i) {
    sum += shares[i] = std::exp((static_cast<double>(values[i]) - values[0]) / temperature);
  }
  // The fewest best candidates that reach top_p, then those of at least min_p times the best.
  size_t kept = 0;
  double reached = 0.0;
  while (kept < shares.size() && (kept == 0 || (reached < settings[2] * sum))) {
    reached += shares[kept++];
  }
  while (kept > 1 && shares[kept - 1] < settings[3]) {
    reached -= shares[--kept];
  }
  double left = settings[4] * reached;
  for (size_t i = 0; i < kept; ++i) {
    left -= shares[i];
    if (left < 0.0) {
      return i;
    }
  }
  return kept - 1;
}

}  // namespace

void Backend::sample(const SampleArgs& args, const View& ids) {
  const int64_t rows = args.logits.dim(0);
  const int64_t k = std::min(SampleArgs::kMostCandidates, args.logits.dim(1));
  const View values = scratch(*this, Shape{rows, k});
  const View indices = scratch(*this, Shape{rows, k}, DType::U32);
  const View largest = scratch(*this, Shape{rows}, DType::U32);
  top_k(args.logits, values, indices);
  arg_reduce(ReduceKind::max, args.logits, largest);  // tells rows that hold a NaN
  const std::vector<float> candidates = download_floats(*this, values);
  const std::vector<float> settings = download_floats(*this, args.settings);
  const std::vector<uint32_t> places = fused::download_ids(*this, indices);
  std::vector<uint32_t> drawn = fused::download_ids(*this, largest);
  for (size_t row = 0; row < drawn.size(); ++row) {
    if (drawn[row] != 0xffffffff) {
      const auto width = static_cast<size_t>(k);
      const size_t choice =
          draw(std::span(candidates).subspan(row * width, width),
               std::span(settings).subspan(row * SampleArgs::kSettings, SampleArgs::kSettings));
      drawn[row] = places[row * width + choice];
    }
  }
  copy(fused::upload_ids(*this, drawn), ids);
}

void Backend::penalise(const PenaliseArgs& args) {
  const auto width = static_cast<size_t>(args.logits.dim(1));
  std::vector<float> logits = download_floats(*this, args.logits);
  std::vector<uint32_t> marks = fused::download_ids(*this, args.marks);
  const std::vector<uint32_t> newest = fused::download_ids(*this, args.newest);
  const std::vector<float> penalties = download_floats(*this, args.penalties);
  for (size_t row = 0; row < newest.size(); ++row) {
    const auto own_marks = std::span(marks).subspan(row * width, width);
    const auto own_logits = std::span(logits).subspan(row * width, width);
    if (newest[row] < width) {
      own_marks[newest[row]] |= PenaliseArgs::kSaid;
    }
    for (size_t i = 0; i < width; ++i) {
      float& logit = own_logits[i];
      if ((own_marks[i] & PenaliseArgs::kSaid) != 0) {
        logit = logit > 0.0f ? logit / penalties[row] : logit * penalties[row];
      }
      if ((own_marks[i] & PenaliseArgs::kNever) != 0) {
        logit = PenaliseArgs::kSuppressed;
      }
    }
  }
  const auto write = [&](const View& to, std::span<const std::byte> bytes) {
    upload(to.storage, static_cast<uint64_t>(to.layout.offset) * 4, bytes);
  };
  write(args.logits, std::as_bytes(std::span(logits)));
  write(args.marks, std::as_bytes(std::span(marks)));
}

}  // namespace candela
