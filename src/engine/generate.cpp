#include "engine/generate.h"

#include <algorithm>
#include <memory>

#include "base/error.h"
#include "models/text/decode_batch.h"
#include "tensor/ops.h"

namespace candela::engine {

namespace {

/// Steps that the device has in hand while the host looks at the one before.
constexpr size_t kStepsAhead = 2;

/// One request on its way: its cache pages, its sampler, what it has said so far.
struct Running {
  const Request* request = nullptr;
  nn::KvSequence sequence;
  nn::Sampler sampler;
  std::vector<uint32_t> history;  ///< prompt and answer, for the repetition penalty
  uint32_t last = 0;
  bool done = false;

  explicit Running(const Request& source)
      : request(&source), sampler(source.sampling), history(source.ids) {}
};

class Loop {
 public:
  Loop(models::TextDecoder& model,
       nn::KvCache& cache,
       std::span<const Request> requests,
       const GenerateOptions& options,
       const TokenSink& sink)
      : model_(model), cache_(cache), options_(options), sink_(sink) {
    if (options.prefill_chunk < 1) {
      fail(ErrorKind::InvalidArgument, Subject::Usage,
           "--prefill-chunk is {}, it must be 1 or more.", options.prefill_chunk);
    }
    out_.answers.resize(requests.size());
    out_.step_logits.resize(requests.size());
    for (const Request& request : requests) {
      check(request);
      running_.emplace_back(request);
    }
  }
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;
  ~Loop() {
    for (Running& one : running_) {
      cache_.release(one.sequence);
    }
  }

  Generation run() {
    Stopwatch watch;
    for (size_t i = 0; i < running_.size(); ++i) {
      prefill(i);
    }
    out_.stats.prefill_seconds = watch.seconds();
    watch.restart();
    decode_all();
    out_.stats.decode_seconds = watch.seconds();
    return std::move(out_);
  }

 private:
  void check(const Request& request) const {
    if (request.ids.empty()) {
      fail(ErrorKind::InvalidArgument, Subject::Usage, "The prompt has no tokens.");
    }
    if (request.max_new_tokens < 1) {
      fail(ErrorKind::InvalidArgument, Subject::Usage,
           "The request asks for {} new tokens, it must be 1 or more.", request.max_new_tokens);
    }
    const int64_t limit = model_.config().max_positions;
    if (static_cast<int64_t>(request.ids.size()) >= limit) {
      fail(ErrorKind::InvalidArgument, Subject::Usage,
           "The prompt has {} tokens, the model's context is {}.", request.ids.size(), limit);
    }
    for (const uint32_t id : request.ids) {
      if (id >= model_.config().vocab_size) {
        fail(ErrorKind::InvalidArgument, Subject::Usage,
             "The prompt has token {}, the model's vocabulary ends at {}.", id,
             model_.config().vocab_size - 1);
      }
    }
  }

  void prefill(size_t index) {
    Running& one = running_[index];
    const std::span<const uint32_t> ids = one.request->ids;
    out_.stats.prompt_tokens += static_cast<int64_t>(ids.size());
    const bool traced = static_cast<bool>(options_.trace.record);
    const size_t chunk = traced ? ids.size() : static_cast<size_t>(options_.prefill_chunk);
    Tensor logits;
    for (size_t at = 0; at < ids.size(); at += chunk) {
      const nn::StepRow row{&one.sequence, ids.subspan(at, std::min(chunk, ids.size() - at)),
                            traced};
      logits = model_.forward({&row, 1}, cache_, options_.trace);
    }
    const size_t which[] = {index};
    accept(which, sample(which, logits.narrow(0, logits.dim(0) - 1, 1)));
  }

  void decode_all() {
    for (std::vector<size_t> which = active(); !which.empty(); which = active()) {
      const Counters before = counters();
      if (drawn_on_device(which)) {
        decode_ahead(which);
      } else {
        decode_step(which);
      }
      out_.stats.decode_dispatches += counters().dispatches - before.dispatches;
      out_.stats.decode_readbacks += counters().readbacks - before.readbacks;
    }
  }

  std::vector<size_t> active() const {
    std::vector<size_t> which;
    for (size_t i = 0; i < running_.size(); ++i) {
      if (!running_[i].done) {
        which.push_back(i);
      }
    }
    return which;
  }

  /// One step whose logits come to the host.
  void decode_step(std::span<const size_t> which) {
    std::vector<nn::StepRow> rows;
    for (const size_t i : which) {
      rows.push_back({&running_[i].sequence, {&running_[i].last, 1}, false});
    }
    accept(which, sample(which, model_.forward(rows, cache_)));
    ++out_.stats.decode_steps;
    ++out_.stats.host_steps;
  }

  /// Steps whose tokens stay on the device, until one of the requests is done. The host reads ids
  /// one step behind, so the last step may have been in vain for those that ended meanwhile.
  void decode_ahead(std::span<const size_t> which) {
    std::vector<models::DecodeRow> rows;
    int64_t left = INT64_MAX;
    for (const size_t i : which) {
      Running& one = running_[i];
      rows.push_back({&one.sequence, one.last, &one.sampler, one.history});
      left = std::min(left, tokens_left(one));
    }
    models::DecodeBatch batch(model_, cache_, rows);
    bool ending = false;
    while (!ending || batch.in_flight() > 0) {
      while (!ending && left > 0 && batch.in_flight() < kStepsAhead) {
        batch.submit();
        --left;
      }
      if (batch.in_flight() == 0) {
        break;
      }
      accept(which, batch.take());
      ++out_.stats.decode_steps;
      ending = active().size() < which.size();
    }
  }

  /// How many more tokens this request may get.
  int64_t tokens_left(const Running& one) const {
    const auto said = static_cast<int64_t>(one.history.size() - one.request->ids.size());
    return std::min(one.request->max_new_tokens - said,
                    model_.config().max_positions - static_cast<int64_t>(one.history.size()));
  }

  const Counters& counters() const { return model_.device().counters(); }

  /// Takes one token for each of the requests and decides who is done.
  void accept(std::span<const size_t> which, const std::vector<uint32_t>& ids) {
    for (size_t row = 0; row < which.size(); ++row) {
      Running& one = running_[which[row]];
      if (one.done) {
        continue;
      }
      Answer& answer = out_.answers[which[row]];
      one.last = ids[row];
      one.history.push_back(ids[row]);
      answer.ids.push_back(ids[row]);
      ++out_.stats.new_tokens;
      const auto& stops = one.request->stop_ids;
      const bool stopped = std::ranges::find(stops, ids[row]) != stops.end();
      const bool wanted = !sink_ || sink_(which[row], ids[row]);
      const auto total = static_cast<int64_t>(one.history.size());
      const bool full = static_cast<int64_t>(answer.ids.size()) >= one.request->max_new_tokens ||
                        total >= model_.config().max_positions;
      answer.reason = stopped   ? FinishReason::Stop
                      : !wanted ? FinishReason::Cancelled
                                : FinishReason::Length;
      one.done = stopped || !wanted || full;
    }
  }

  /// Whether the device can draw the tokens of these requests.
  bool drawn_on_device(std::span<const size_t> which) const {
    return !options_.all_logits &&
           std::ranges::all_of(which, [&](size_t i) { return running_[i].sampler.fits_device(); });
  }

  /// One read-back: the best ids for greedy answers, else the logits.
  std::vector<uint32_t> sample(std::span<const size_t> which, const Tensor& logits) {
    const auto largest = [&](size_t i) {
      const nn::SamplingOptions& options = running_[i].sampler.options();
      return options.greedy() && !options.penalises();
    };
    if (!options_.all_logits && std::ranges::all_of(which, largest)) {
      return greedy(logits);
    }
    const std::vector<float> values = logits.to_vec<float>();
    const auto vocab = static_cast<size_t>(model_.config().vocab_size);
    std::vector<uint32_t> ids;
    for (size_t row = 0; row < which.size(); ++row) {
      Running& one = running_[which[row]];
      const std::span<const float> mine(values.data() + row * vocab, vocab);
      if (options_.all_logits) {
        out_.step_logits[which[row]].emplace_back(mine.begin(), mine.end());
      }
      ids.push_back(one.sampler.pick(mine, one.history));
    }
    return ids;
  }

  std::vector<uint32_t> greedy(const Tensor& logits) const {
    std::vector<uint32_t> ids = argmax(logits, -1).to_vec<uint32_t>();
    for (const uint32_t id : ids) {
      if (id >= model_.config().vocab_size) {
        // arg_reduce answers so for a row with a NaN.
        fail(
            ErrorKind::Internal, Subject::Device,
            "A logit is not a number; the weights or the device are broken, try `candela doctor`.");
      }
    }
    return ids;
  }

  models::TextDecoder& model_;
  nn::KvCache& cache_;
  const GenerateOptions& options_;
  const TokenSink& sink_;
  std::vector<Running> running_;
  Generation out_;
};

}  // namespace

const char* name_of(FinishReason reason) {
  switch (reason) {
    case FinishReason::Stop:
      return "stop";
    case FinishReason::Length:
      return "length";
    case FinishReason::Cancelled:
      return "cancelled";
  }
  return "?";
}

Generation generate(models::TextDecoder& model,
                    nn::KvCache& cache,
                    std::span<const Request> requests,
                    const GenerateOptions& options,
                    const TokenSink& sink) {
  return Loop(model, cache, requests, options, sink).run();
}

}  // namespace candela::engine
