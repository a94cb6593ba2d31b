#include <algorithm>

#include "models/support.h"
#include "tensor/compare.h"
#include "tensor/ops.h"

namespace candela::models {
namespace {

using Ids = std::vector<uint32_t>;

/// The goldens of tests/golden: cases by id, arrays by key, tolerances as the index says.
class Goldens {
 public:
  Goldens()
      : index_(read_json(kGolden + "/index.json")),
        arrays_(open_weights(kGolden + "/text.safetensors"), Device::cpu()) {}

  const ordered_json& at(const std::string& id) const {
    for (const ordered_json& entry : index_.at("cases")) {
      if (entry.at("id") == id) {
        return entry;
      }
    }
    throw std::runtime_error("no golden " + id);
  }
  std::vector<float> array(const std::string& key) const {
    return arrays_.get(key).to_vec<float>();
  }
  Tolerance tolerance(const std::string& id, const std::string& name) const {
    for (const ordered_json& entry : at(id).at("arrays")) {
      if (entry.at("name") == name) {
        return {entry.at("rtol").get<double>(), entry.at("atol").get<double>()};
      }
    }
    throw std::runtime_error("no golden array " + name);
  }

 private:
  ordered_json index_;
  Weights arrays_;
};

struct Session {
  std::unique_ptr<Model> model;
  nn::KvCache cache;

  explicit Session(const Device& device, const std::string& path = kTinyOmni)
      : model(load_model(open_model(path), device)), cache(model->text.make_cache(DType::F32, 0)) {}

  std::vector<float> forward(nn::KvSequence& sequence, std::span<const uint32_t> ids) {
    const nn::StepRow row{&sequence, ids, false};
    return model->text.forward({&row, 1}, cache).to_vec<float>();
  }
};

uint32_t best_of(std::span<const float> logits) {
  return static_cast<uint32_t>(std::ranges::max_element(logits) - logits.begin());
}

const Device& wgpu_device() {
  static const Device device = Device::wgpu();
  return device;
}

TEST(Decoder, GreedyAnswerOfTheGolden) {
  const Goldens goldens;
  const ordered_json& golden = goldens.at("text.basic");
  const auto prompt = golden.at("input_ids").get<Ids>();
  const auto expected = golden.at("expect").at("tokens").get<Ids>();
  Session session(Device::cpu());
  nn::KvSequence sequence;
  std::vector<float> logits = session.forward(sequence, prompt);
  // The stored rows end with the last token's.
  std::vector<float> stored = goldens.array("text.basic/logits");
  stored.erase(stored.begin(), stored.end() - 1920);
  EXPECT_EQ(first_difference(logits, stored, goldens.tolerance("text.basic", "logits")), -1);
  for (const uint32_t token : expected) {
    const uint32_t best = best_of(logits);
    ASSERT_EQ(best, token);
    logits = session.forward(sequence, {&best, 1});
  }
  EXPECT_EQ(sequence.length, static_cast<int64_t>(prompt.size() + expected.size()));
}

TEST(Decoder, RaggedBatchOfTheGolden) {
  const Goldens goldens;
  const ordered_json& golden = goldens.at("text.batch");
  const auto padded = Weights(open_weights(kGolden + "/text.safetensors"), Device::cpu())
                          .get("text.batch/input_ids")
                          .to_vec2<int64_t>();
  const auto mask = Weights(open_weights(kGolden + "/text.safetensors"), Device::cpu())
                        .get("text.batch/attention_mask")
                        .to_vec2<int64_t>();
  Session session(Device::cpu());
  std::vector<nn::KvSequence> sequences(padded.size());
  std::vector<Ids> prompts(padded.size());
  std::vector<nn::StepRow> rows;
  for (size_t i = 0; i < padded.size(); ++i) {
    for (size_t t = 0; t < padded[i].size(); ++t) {
      if (mask[i][t] != 0) {
        prompts[i].push_back(static_cast<uint32_t>(padded[i][t]));
      }
    }
    rows.push_back({&sequences[i], prompts[i], false});
  }
  ASSERT_NE(prompts[0].size(), prompts[1].size()) << "the rows are ragged";
  Tensor logits = session.model->text.forward(rows, session.cache);
  EXPECT_EQ(first_difference(logits.to_vec<float>(), goldens.array("text.batch/last_logits"),
                             goldens.tolerance("text.batch", "last_logits")),
            -1);
  const auto expected = golden.at("expect").at("tokens").get<std::vector<Ids>>();
  for (size_t step = 0; step < expected[0].size(); ++step) {
    Ids next = argmax(logits, -1).to_vec<uint32_t>();
    for (size_t i = 0; i < rows.size(); ++i) {
      ASSERT_EQ(next[i], expected[i][step]) << "row " << i << ", step " << step;
      rows[i].ids = {&next[i], 1};
    }
    logits = session.model->text.forward(rows, session.cache);
  }
}

TEST(Decoder, BatchedStepsEqualSingleOnesOnEveryModel) {
  const std::vector<Ids> prompts = {{1, 2, 3, 4, 5}, Ids(70, 9), {44}};
  for (const std::string& path : {kTinyQwen3, kTinyMoe}) {
    Session session(Device::cpu(), path);
    std::vector<nn::KvSequence> sequences(prompts.size());
    std::vector<nn::StepRow> rows;
    for (size_t i = 0; i < prompts.size(); ++i) {
      rows.push_back({&sequences[i], prompts[i], false});
    }
    std::vector<float> together = session.model->text.forward(rows, session.cache).to_vec<float>();
    const Ids next = {7, 8, 9};
    for (size_t i = 0; i < rows.size(); ++i) {
      rows[i].ids = {&next[i], 1};
    }
    const auto second = session.model->text.forward(rows, session.cache).to_vec<float>();
    together.insert(together.end(), second.begin(), second.end());
    for (size_t i = 0; i < prompts.size(); ++i) {
      nn::KvSequence alone;
      const auto first_logits = session.forward(alone, prompts[i]);
      const auto next_logits = session.forward(alone, {&next[i], 1});
      const auto row = [&](size_t at) { return std::span(together).subspan(at * 1920, 1920); };
      EXPECT_LT(difference(row(i), first_logits).nmse, 1e-10) << path << " row " << i;
      EXPECT_LT(difference(row(3 + i), next_logits).nmse, 1e-10) << path << " row " << i;
    }
  }
}

TEST(Decoder, ChunkedPrefillEqualsOnePass) {
  Ids prompt(150);
  for (size_t i = 0; i < prompt.size(); ++i) {
    prompt[i] = static_cast<uint32_t>(i * 37 % 1900);
  }
  Session session(Device::cpu());
  nn::KvSequence whole, parts;
  const std::vector<float> expected = session.forward(whole, prompt);
  std::vector<float> got;
  for (size_t at = 0; at < prompt.size(); at += 7) {
    got = session.forward(parts,
                          std::span(prompt).subspan(at, std::min<size_t>(7, prompt.size() - at)));
  }
  EXPECT_EQ(parts.length, 150);
  EXPECT_LT(difference(got, expected).nmse, 1e-10);
}

TEST(Decoder, AllLogitsEndWithTheLastRow) {
  Session session(Device::cpu(), kTinyQwen3);
  const Ids prompt = {3, 1, 4, 1, 5};
  nn::KvSequence all, last;
  const nn::StepRow row{&all, prompt, true};
  const Tensor logits = session.model->text.forward({&row, 1}, session.cache);
  ASSERT_EQ(logits.shape(), (Shape{5, 1920}));
  EXPECT_LT(
      difference(logits.narrow(0, 4, 1).contiguous().to_vec<float>(), session.forward(last, prompt))
          .nmse,
      1e-10);
}

TEST(Decoder, TraceNamesLayersAndCostsNothingUnasked) {
  Session session(Device::cpu(), kTinyMoe);
  const Ids prompt = {3, 1, 4};
  nn::KvSequence sequence;
  const nn::StepRow row{&sequence, prompt, true};
  std::map<std::string, Shape> seen;
  const nn::Trace trace{[](const std::string& name) { return name != "L2.mlp"; },
                        [&](const std::string& name, const Tensor& value) {
                          EXPECT_TRUE(seen.emplace(name, value.shape()).second) << name;
                        },
                        ""};
  session.model->text.forward({&row, 1}, session.cache, trace);
  EXPECT_EQ(seen.at("embeds"), (Shape{3, 96}));
  EXPECT_EQ(seen.at("L3.q_rope"), (Shape{8, 3, 32}));
  EXPECT_EQ(seen.at("L1.mlp"), (Shape{3, 96}));
  EXPECT_EQ(seen.at("L0.router_idx"), (Shape{3, 4}));
  EXPECT_EQ(seen.at("logits"), (Shape{3, 1920}));
  EXPECT_EQ(seen.count("L2.mlp"), 0u);
}

TEST(DecoderOnWgpu, MemoryIsTheFilesOwnBytes) {
  const Device device = Device::wgpu();
  const uint64_t before = device.counters().bytes_in_use;
  const ModelFiles files = open_model(kTinyOmni);
  const auto model = load_model(files, device);
  const uint64_t used = device.counters().bytes_in_use - before;
  const uint64_t bytes = loaded_bytes(files);
  EXPECT_GE(used, bytes);
  EXPECT_LE(static_cast<double>(used), 1.05 * static_cast<double>(bytes) + 65536.0);
}

TEST(DecoderOnWgpu, StepsAreFewDispatchesWithoutNewPipelines) {
  for (const std::string& path : {kTinyOmni, kTinyQwen3}) {
    Session session(wgpu_device(), path);
    Session reference(Device::cpu(), path);
    nn::KvSequence sequence, expected;
    session.forward(sequence, Ids{1, 2, 3, 4, 5});
    reference.forward(expected, Ids{1, 2, 3, 4, 5});
    const auto layers = static_cast<uint64_t>(session.model->text.config().layers);
    Counters before;
    for (uint32_t step = 0; step < 5; ++step) {
      before = wgpu_device().counters();
      const Ids id = {step + 10};
      const auto logits = session.forward(sequence, id);
      const Counters& after = wgpu_device().counters();
      EXPECT_EQ(after.readbacks - before.readbacks, 1u);
      EXPECT_LE(after.dispatches - before.dispatches, 15 * layers + 8);
      if (step >= 2) {
        EXPECT_EQ(after.pipelines, before.pipelines) << "step " << step;
        EXPECT_EQ(after.allocations, before.allocations) << "step " << step;
      }
      EXPECT_LT(difference(logits, reference.forward(expected, id)).nmse, 1e-6);
    }
  }
}

}  // namespace
}  // namespace candela::models
