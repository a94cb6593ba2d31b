#include "models/text/decode_batch.h"

#include <algorithm>
#include <bit>

#include "base/error.h"
#include "tensor/ops.h"

namespace candela::models {

namespace {

/// Words of a row in the upload of a step: position, slot, recent slot, span.
constexpr int64_t kRowWords = 6;
constexpr uint32_t kNowhere = 0xffffffff;
/// Settings of a row that takes its largest logit.
constexpr std::array<float, SampleArgs::kSettings> kLargest{};

/// Context that a recorded step allows for: it is recorded anew every 256 positions, later 1,024.
int64_t rounded_span(int64_t length) {
  const int64_t step = length <= 4096 ? 256 : 1024;
  return (length + step - 1) / step * step;
}

}  // namespace

DecodeBatch::DecodeBatch(TextDecoder& model, nn::KvCache& cache, std::span<const DecodeRow> rows)
    : model_(model), cache_(cache) {
  rows_ = static_cast<int64_t>(model.device().limits().captures ? std::bit_ceil(rows.size())
                                                                : rows.size());
  std::vector<uint32_t> ids;
  for (const DecodeRow& row : rows) {
    sequences_.push_back(row.sequence);
    samplers_.push_back(row.sampler);
    ids.push_back(row.last);
  }
  ids.resize(static_cast<size_t>(rows_));
  ids_ = Tensor::from_vector(ids, {rows_}, model.device());
  settings_ = Tensor::empty({rows_, SampleArgs::kSettings}, DType::F32, model.device(), "settings");
  const auto penalises = [](const nn::Sampler* sampler) {
    return sampler != nullptr && sampler->options().penalises();
  };
  const auto draws = [](const nn::Sampler* sampler) {
    return sampler != nullptr && !sampler->options().greedy();
  };
  if (std::ranges::any_of(samplers_, penalises)) {
    mark_histories(rows);
  }
  if (std::ranges::none_of(samplers_, draws)) {
    samplers_.clear();
  }
}

void DecodeBatch::mark_histories(std::span<const DecodeRow> rows) {
  const int64_t vocabulary = model_.config().vocab_size;
  std::vector<uint32_t> marks;
  std::vector<float> penalties;
  for (const DecodeRow& row : rows) {
    const nn::Sampler plain({});
    const nn::Sampler& sampler = row.sampler != nullptr ? *row.sampler : plain;
    const std::vector<uint32_t> own = sampler.device_marks(vocabulary, row.history);
    marks.insert(marks.end(), own.begin(), own.end());
    penalties.push_back(sampler.options().repetition_penalty);
  }
  marks.resize(static_cast<size_t>(rows_ * vocabulary));
  penalties.resize(static_cast<size_t>(rows_), 1.0f);
  marks_ = Tensor::from_vector(marks, {rows_, vocabulary}, model_.device());
  penalties_ = Tensor::from_vector(penalties, {rows_}, model_.device());
}

void DecodeBatch::submit() {
  int64_t longest = 0;
  for (nn::KvSequence* sequence : sequences_) {
    cache_.reserve(*sequence, sequence->length + 1);
    longest = std::max(longest, sequence->length + 1);
  }
  const int64_t span = rounded_span(longest);
  prepare({span, cache_.generation(), model_.reserve_positions(span)});
  upload();
  const auto work = [&] {
    const Tensor logits = model_.run(step_, cache_);
    if (marks_.defined()) {
      penalise_into(logits, ids_, marks_, penalties_);
    }
    if (samplers_.empty()) {
      argmax_into(logits, ids_);
    } else {
      sample_into(logits, settings_, ids_);
    }
  };
  if (!captured_) {
    captured_ = model_.device().backend().capture(work);
  }
  if (captured_) {
    model_.device().backend().replay(*captured_);
  } else {
    work();
  }
  steps_.push_back(ids_.read_later());
  for (nn::KvSequence* sequence : sequences_) {
    ++sequence->length;
  }
}

void DecodeBatch::prepare(const Shape& shape) {
  if (shape == shape_) {
    return;
  }
  captured_.reset();
  if (shape.span != shape_.span) {
    // One tensor: kernels of a step bind it once.
    const int64_t words = rows_ * kRowWords;
    const int64_t pages = shape.span / nn::KvCache::kPage;
    const Tensor all =
        Tensor::empty({words + rows_ * pages}, DType::U32, model_.device(), "step inputs");
    inputs_ = all.narrow(0, 0, words);
    step_.ids = ids_;
    step_.positions = inputs_.narrow(0, 0, rows_);
    step_.slots = inputs_.narrow(0, rows_, rows_);
    step_.recent_slots = inputs_.narrow(0, 2 * rows_, rows_);
    step_.spans = inputs_.narrow(0, 3 * rows_, 3 * rows_).reshape({rows_, 3});
    step_.pages = all.narrow(0, words, rows_ * pages).reshape({rows_, pages});
    step_.tokens = rows_;
    step_.max_span = shape.span;
    step_.every_row = true;
    step_.lone = true;
    pages_.clear();
  }
  shape_ = shape;
}

void DecodeBatch::upload() {
  const auto rows = static_cast<size_t>(rows_);
  std::vector<uint32_t> words(rows * kRowWords);
  for (size_t row = 0; row < rows; ++row) {
    uint32_t* span = words.data() + 3 * rows + 3 * row;
    span[2] = static_cast<uint32_t>(row);
    words[rows + row] = words[2 * rows + row] = kNowhere;
    if (row < sequences_.size()) {
      const nn::KvSequence& sequence = *sequences_[row];
      words[row] = static_cast<uint32_t>(sequence.length);
      words[rows + row] = static_cast<uint32_t>(nn::KvCache::slot_of(sequence, sequence.length));
      words[2 * rows + row] =
          static_cast<uint32_t>(nn::KvCache::recent_slot_of(sequence, sequence.length));
      span[1] = static_cast<uint32_t>(sequence.length + 1);
    }
  }
  inputs_.write(std::span<const uint32_t>(words));
  upload_pages();
  if (!samplers_.empty()) {
    upload_settings();
  }
}

void DecodeBatch::upload_settings() {
  std::vector<float> rows;
  for (nn::Sampler* sampler : samplers_) {
    const auto row = sampler != nullptr ? sampler->device_settings() : kLargest;
    rows.insert(rows.end(), row.begin(), row.end());
  }
  rows.resize(static_cast<size_t>(settings_.elements()));  // idle rows take the largest logit
  settings_.write(std::span<const float>(rows));
}

void DecodeBatch::upload_pages() {
  const auto width = static_cast<size_t>(step_.pages.dim(1));
  std::vector<uint32_t> pages(static_cast<size_t>(rows_) * width);
  for (size_t row = 0; row < sequences_.size(); ++row) {
    const std::vector<uint32_t> own = nn::KvCache::page_table(*sequences_[row]);
    std::copy_n(own.begin(), std::min(own.size(), width),
                pages.begin() + static_cast<ptrdiff_t>(row * width));
  }
  if (pages != pages_) {
    step_.pages.write(std::span<const uint32_t>(pages));
    pages_ = std::move(pages);
  }
}

std::vector<uint32_t> DecodeBatch::take() {
  std::vector<uint32_t> ids(static_cast<size_t>(rows_));
  steps_.front()->wait(std::as_writable_bytes(std::span(ids)));
  steps_.pop_front();
  ids.resize(sequences_.size());
  for (const uint32_t id : ids) {
    if (id >= model_.config().vocab_size) {
      fail(ErrorKind::Internal, Subject::Device,
           "A logit is not a number; the weights or the device are broken, try `candela doctor`.");
    }
  }
  return ids;
}

}  // namespace candela::models
