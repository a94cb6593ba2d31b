// Steps that stay on the device against forward passes whose logits come to the host.
#include "models/text/decode_batch.h"

#include <algorithm>

#include "models/support.h"

namespace candela::models {
namespace {

using Ids = std::vector<uint32_t>;

const Device& wgpu_device() {
  static const Device device = Device::wgpu();
  return device;
}

uint32_t best_of(std::span<const float> logits) {
  return static_cast<uint32_t>(std::ranges::max_element(logits) - logits.begin());
}

Ids some_ids(size_t count, uint32_t start) {
  Ids ids(count);
  for (size_t i = 0; i < count; ++i) {
    ids[i] = (start + static_cast<uint32_t>(i) * 37) % 1000;
  }
  return ids;
}

/// A model with sequences of the given lengths in its cache.
struct Session {
  std::unique_ptr<Model> model;
  nn::KvCache cache;
  std::vector<nn::KvSequence> sequences;
  Ids last;  ///< the first token after each prompt

  Session(const Device& device,
          std::span<const size_t> lengths,
          const std::string& path = kTinyOmni,
          DType kv_type = DType::F32)
      : model(load_model(open_model(path), device)),
        cache(model->text.make_cache(kv_type, 0)),
        sequences(lengths.size()) {
    for (size_t i = 0; i < lengths.size(); ++i) {
      const Ids prompt = some_ids(lengths[i], static_cast<uint32_t>(i) + 3);
      const nn::StepRow row{&sequences[i], prompt, false};
      last.push_back(best_of(model->text.forward({&row, 1}, cache).to_vec<float>()));
    }
  }

  std::vector<DecodeRow> rows() {
    std::vector<DecodeRow> all;
    for (size_t i = 0; i < sequences.size(); ++i) {
      all.push_back({&sequences[i], last[i]});
    }
    return all;
  }

  /// The next tokens of every sequence, one forward pass a step.
  std::vector<Ids> step_by_step(size_t steps) {
    std::vector<Ids> answers;
    for (size_t s = 0; s < steps; ++s) {
      std::vector<nn::StepRow> rows;
      for (size_t i = 0; i < sequences.size(); ++i) {
        rows.push_back({&sequences[i], {&last[i], 1}, false});
      }
      const auto logits = model->text.forward(rows, cache).to_vec<float>();
      const size_t width = logits.size() / sequences.size();
      for (size_t i = 0; i < sequences.size(); ++i) {
        last[i] = best_of(std::span(logits).subspan(i * width, width));
      }
      answers.push_back(last);
    }
    return answers;
  }
};

std::vector<Ids> ahead(DecodeBatch& batch, size_t steps) {
  std::vector<Ids> answers;
  for (size_t s = 0; s < steps; ++s) {
    batch.submit();
    if (batch.in_flight() == 2) {
      answers.push_back(batch.take());
    }
  }
  while (batch.in_flight() > 0) {
    answers.push_back(batch.take());
  }
  return answers;
}

TEST(DecodeBatch, DrawsTheTokensOfForwardPassesOnBothDevices) {
  // Three rows in a batch of four; pages end and the recorded context of 256 is passed on the way.
  const size_t lengths[] = {5, 250, 62};
  Session expected(Device::cpu(), lengths);
  const std::vector<Ids> answers = expected.step_by_step(12);
  for (const Device& device : {Device::cpu(), wgpu_device()}) {
    Session session(device, lengths);
    ASSERT_EQ(session.last.size(), 3u);
    DecodeBatch batch(session.model->text, session.cache, session.rows());
    EXPECT_EQ(ahead(batch, 12), answers) << device.name();
    EXPECT_EQ(session.sequences[1].length, 262);
  }
}

TEST(DecodeBatch, PagesOfBlocksTurnOldWhileStepsAreUnderWay) {
  // Each passes the end of a page, so that a page that was F16 is read as blocks from then on. With
  // these lengths no two tokens are so close that another device's last bits could turn them over.
  const size_t lengths[] = {191, 127};
  Session expected(Device::cpu(), lengths, kTinyQwen3, DType::Q8_16);
  const std::vector<Ids> answers = expected.step_by_step(8);
  EXPECT_EQ(expected.sequences[0].recent.size(), 2u);
  Session session(wgpu_device(), lengths, kTinyQwen3, DType::Q8_16);
  DecodeBatch batch(session.model->text, session.cache, session.rows());
  EXPECT_EQ(ahead(batch, 8), answers);
  EXPECT_EQ(session.sequences[0].recent.size(), 2u);
}

TEST(DecodeBatch, AnOrdinaryModelWithoutExperts) {
  const size_t lengths[] = {9};
  Session expected(Device::cpu(), lengths, kTinyQwen3);
  const std::vector<Ids> answers = expected.step_by_step(8);
  Session session(wgpu_device(), lengths, kTinyQwen3);
  DecodeBatch batch(session.model->text, session.cache, session.rows());
  EXPECT_EQ(ahead(batch, 8), answers);
}

TEST(DecodeBatch, AStepIsAFewDispatchesOneSubmitAndOneReadBack) {
  // Of the longer one attention is split over its keys and joined in the output projection.
  for (const size_t length : {size_t{5}, size_t{600}}) {
    const size_t lengths[] = {length};
    Session expected(Device::cpu(), lengths);
    const std::vector<Ids> answers = expected.step_by_step(12);
    Session session(wgpu_device(), lengths);
    DecodeBatch batch(session.model->text, session.cache, session.rows());
    std::vector<Ids> got = ahead(batch, 2);
    const Counters before = wgpu_device().counters();
    const std::vector<Ids> more = ahead(batch, 10);
    const Counters& after = wgpu_device().counters();
    got.insert(got.end(), more.begin(), more.end());
    EXPECT_EQ(got, answers) << length;
    const auto layers = static_cast<uint64_t>(session.model->text.config().layers);
    EXPECT_LE((after.dispatches - before.dispatches) / 10, 6 * layers + 4) << length;
    EXPECT_EQ(after.pipelines, before.pipelines);
    EXPECT_EQ(after.bind_groups, before.bind_groups);
    EXPECT_EQ(after.readbacks - before.readbacks, 10u);
    EXPECT_LE(after.submits - before.submits, 20u) << "the step and the copy of its ids";
    EXPECT_LE(after.upload_bytes - before.upload_bytes, 10u * 64) << "no tables, no parameters";
  }
}

TEST(DecodeBatch, ASequenceDoesNotDependOnItsNeighbours) {
  const size_t alone[] = {40, 40}, mixed[] = {40, 250};
  Session one(wgpu_device(), alone), two(wgpu_device(), mixed);
  DecodeBatch first(one.model->text, one.cache, one.rows());
  DecodeBatch second(two.model->text, two.cache, two.rows());
  const std::vector<Ids> a = ahead(first, 5), b = ahead(second, 5);
  for (size_t s = 0; s < a.size(); ++s) {
    EXPECT_EQ(a[s][0], b[s][0]);
  }
}

class SameBits : public testing::TestWithParam<DType> {};

TEST_P(SameBits, LogitsDoNotDependOnNeighbours) {
  const auto logits = [](size_t own, size_t neighbour) {
    const size_t lengths[] = {own, neighbour};
    Session session(wgpu_device(), lengths, kTinyOmni, GetParam());
    const uint32_t next[] = {7, static_cast<uint32_t>(neighbour)};
    const nn::StepRow rows[] = {{&session.sequences[0], {&next[0], 1}, false},
                                {&session.sequences[1], {&next[1], 1}, false}};
    std::vector<float> all = session.model->text.forward(rows, session.cache).to_vec<float>();
    all.resize(all.size() / 2);
    return all;
  };
  const std::vector<float> expected = logits(40, 40);
  EXPECT_EQ(logits(40, 250), expected);
  EXPECT_EQ(logits(40, 700), expected) << "whose keys are split";
  EXPECT_EQ(logits(600, 900), logits(600, 20)) << "both are, into different numbers";
}

INSTANTIATE_TEST_SUITE_P(DecodeBatch,
                         SameBits,
                         testing::Values(DType::F32, DType::BF16, DType::Q8_16),
                         [](const auto& tested) { return std::string(dtype_name(tested.param)); });

/// Ten steps of two sequences, drawn on the device or from logits on the host.
std::vector<Ids> drawn(const Device& device, bool on_device, const nn::SamplingOptions& options) {
  const size_t lengths[] = {7, 20};
  Session session(device, lengths);
  nn::Sampler samplers[] = {nn::Sampler(options), nn::Sampler({})};
  std::vector<Ids> histories;
  for (size_t i = 0; i < 2; ++i) {
    histories.push_back(some_ids(lengths[i], static_cast<uint32_t>(i) + 3));
    histories[i].push_back(session.last[i]);
  }
  if (on_device) {
    std::vector<DecodeRow> rows = session.rows();
    rows[0].sampler = &samplers[0];  // the other takes the largest logit
    rows[0].history = histories[0];
    DecodeBatch batch(session.model->text, session.cache, rows);
    return ahead(batch, 10);
  }
  std::vector<Ids> answers;
  for (int s = 0; s < 10; ++s) {
    std::vector<nn::StepRow> rows{{&session.sequences[0], {&session.last[0], 1}, false},
                                  {&session.sequences[1], {&session.last[1], 1}, false}};
    const auto logits = session.model->text.forward(rows, session.cache).to_vec2<float>();
    for (size_t i = 0; i < 2; ++i) {
      session.last[i] = samplers[i].pick(logits[i], histories[i]);
      histories[i].push_back(session.last[i]);
    }
    answers.push_back(session.last);
  }
  return answers;
}

TEST(DecodeBatch, DrawsWithTheSamplersNumbers) {
  const nn::SamplingOptions options{.temperature = 0.8f, .top_k = 20, .top_p = 0.9f, .seed = 5};
  const std::vector<Ids> expected = drawn(Device::cpu(), false, options);
  EXPECT_EQ(drawn(Device::cpu(), true, options), expected);
  EXPECT_EQ(drawn(wgpu_device(), true, options), expected);
}

TEST(DecodeBatch, PenalisesWhatWasSaidAndNeverDrawsTheSuppressed) {
  // So strong a penalty that nothing may come twice, as every token joins the history at once.
  nn::SamplingOptions options{.repetition_penalty = 50.0f};
  options.suppress = {drawn(Device::cpu(), false, options)[1][0]};
  const std::vector<Ids> expected = drawn(Device::cpu(), false, options);
  EXPECT_NE(expected, drawn(Device::cpu(), false, {}));
  EXPECT_EQ(drawn(Device::cpu(), true, options), expected);
  EXPECT_EQ(drawn(wgpu_device(), true, options), expected);
  options.temperature = 0.8f;
  options.top_k = 20;
  options.repetition_penalty = 1.3f;
  EXPECT_EQ(drawn(wgpu_device(), true, options), drawn(Device::cpu(), false, options));
}

TEST(DecodeBatch, RefusesToSuppressEverything) {
  const size_t lengths[] = {5};
  Session session(Device::cpu(), lengths);
  nn::SamplingOptions options;
  for (int64_t id = 0; id < session.model->text.config().vocab_size; ++id) {
    options.suppress.push_back(static_cast<uint32_t>(id));
  }
  nn::Sampler sampler(options);
  std::vector<DecodeRow> rows = session.rows();
  rows[0].sampler = &sampler;
  EXPECT_THROW(DecodeBatch(session.model->text, session.cache, rows), Error);
}

}  // namespace
}  // namespace candela::models
