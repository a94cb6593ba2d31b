#include "models/text/config.h"

#include "models/qwen3_omni/thinker.h"
#include "models/support.h"
#include "models/text/architectures.h"

namespace candela::models {
namespace {

ordered_json small() {
  return ordered_json::parse(R"({"architectures": ["Qwen3MoeForCausalLM"], "vocab_size": 50,
    "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
    "head_dim": 8, "intermediate_size": 20, "max_position_embeddings": 100, "rms_norm_eps": 1e-5,
    "rope_theta": 5000, "hidden_act": "silu", "num_experts": 6, "num_experts_per_tok": 2,
    "moe_intermediate_size": 12, "norm_topk_prob": true})");
}

TextConfig read(const ordered_json& config) {
  return TextConfig::from_json(ConfigReader(config, "config.json"), true);
}

TEST(ConfigReader, WrongTypesRangesAndAbsenceNameFileAndKey) {
  const ordered_json json = ordered_json::parse(
      R"({"a": 3, "b": "x", "c": 1.5, "d": null, "e": [1, 2], "f": [1, "x"], "g": {"h": 1}, "i": true,
          "j": 18446744073709551615, "k": 1e300})");
  const ConfigReader reader(json, "dir/config.json");
  EXPECT_EQ(reader.integer("a", 0, 3), 3);
  EXPECT_EQ(reader.number("a", 0, 3), 3.0);
  EXPECT_EQ(reader.text("b"), "x");
  EXPECT_EQ(reader.integer_or("missing", 7, 0, 1), 7);
  EXPECT_EQ(reader.integer_or("d", 7, 0, 9), 7) << "null means absent";
  EXPECT_EQ(reader.integers_or_one("a", 0, 9), std::vector<int64_t>{3});
  EXPECT_EQ(reader.integers_or_one("e", 0, 9), (std::vector<int64_t>{1, 2}));
  EXPECT_TRUE(reader.integers_or_one("missing", 0, 9).empty());
  EXPECT_EQ(reader.child("g").integer("h", 0, 9), 1);
  EXPECT_TRUE(reader.boolean_or("i", false));

  const std::pair<std::function<void()>, std::vector<std::string>> faults[] = {
      {[&] { reader.integer("a", 4, 9); }, {"\"a\"", "3", "between 4 and 9"}},
      {[&] { reader.integer("b", 0, 9); }, {"\"b\"", "\"x\"", "integer"}},
      {[&] { reader.integer("c", 0, 9); }, {"\"c\"", "1.5", "integer"}},
      {[&] { reader.integer("d", 0, 9); }, {"\"d\"", "lacks"}},
      {[&] { reader.integer("i", 0, 9); }, {"\"i\"", "true", "integer"}},
      {[&] { reader.integer("j", 0, INT64_MAX); }, {"\"j\"", "18446744073709551615"}},
      {[&] { reader.integer("missing", 0, 9); }, {"\"missing\"", "lacks"}},
      {[&] { reader.number("k", 0, 9); }, {"\"k\"", "between 0 and 9"}},
      {[&] { reader.number("b", 0, 9); }, {"\"b\"", "number"}},
      {[&] { reader.text("a"); }, {"\"a\"", "string"}},
      {[&] { reader.boolean_or("a", true); }, {"\"a\"", "true or false"}},
      {[&] { reader.integers("a", 0, 9); }, {"\"a\"", "array"}},
      {[&] { reader.integers("e", 0, 1); }, {"\"e\"", "2"}},
      {[&] { reader.integers("f", 0, 9); }, {"\"f\"", "\"x\""}},
      {[&] { reader.child("a"); }, {"a is not an object"}},
      {[&] { reader.child("g").integer("z", 0, 9); }, {"config.json g", "\"z\""}},
  };
  for (const auto& [body, parts] : faults) {
    for (const std::string& part : parts) {
      expect_model_error(ErrorKind::CorruptData, {"dir/config.json", part}, body);
    }
  }
}

TEST(ConfigReader, LongValuesAreShortenedInMessages) {
  const ordered_json json = {{"a", std::string(1000000, 'x')}};
  try {
    ConfigReader(json, "config.json").integer("a", 0, 1);
    FAIL();
  } catch (const Error& error) {
    EXPECT_LT(std::string(error.what()).size(), 200u);
  }
}

TEST(ConfigReader, ParsesOnlyBoundedJson) {
  const auto deep = [](size_t levels) {
    return std::string(levels, '[') + std::string(levels, ']');
  };
  EXPECT_NO_THROW(parse_json(deep(60), "x"));
  expect_model_error(ErrorKind::CorruptData, {"c.json", "deeper"},
                     [&] { parse_json(deep(100), "c.json"); });
  expect_model_error(ErrorKind::CorruptData, {"c.json", "deeper"},
                     [&] { parse_json(deep(100000), "c.json"); });
  expect_model_error(ErrorKind::CorruptData, {"c.json", "not valid JSON"},
                     [] { parse_json("{\"a\": \"\xff\"}", "c.json"); });
  expect_model_error(ErrorKind::CorruptData, {"c.json"},
                     [] { parse_json("{\"a\": 1,}", "c.json"); });
  expect_model_error(ErrorKind::CorruptData, {"c.json"}, [] { parse_json("", "c.json"); });
  expect_model_error(ErrorKind::CorruptData, {"c.json", "bytes"},
                     [] { parse_json(std::string((16 << 20) + 1, ' '), "c.json"); });
  std::string keys = "{";
  for (int i = 0; i < 200000; ++i) {
    keys += "\"" + std::to_string(i) + "\":0,";
  }
  expect_model_error(ErrorKind::CorruptData, {"c.json", "keys", "at most 20000"},
                     [&] { parse_json(keys + "\"x\":0}", "c.json"); });
  expect_model_error(ErrorKind::NotFound, {"/nowhere/config.json"},
                     [] { read_json("/nowhere/config.json"); });
}

TEST(TextConfig, ReadsAPlainConfig) {
  const TextConfig config = read(small());
  EXPECT_EQ(config.vocab_size, 50);
  EXPECT_EQ(config.hidden_size, 16);
  EXPECT_EQ(config.layers, 3);
  EXPECT_EQ(config.heads, 4);
  EXPECT_EQ(config.kv_heads, 2);
  EXPECT_EQ(config.head_dim, 8);
  EXPECT_EQ(config.max_positions, 100);
  EXPECT_FLOAT_EQ(config.rms_norm_eps, 1e-5f);
  EXPECT_EQ(config.rope_theta, 5000.0);
  EXPECT_EQ(config.experts, 6);
  EXPECT_EQ(config.experts_per_token, 2);
  EXPECT_TRUE(config.normalize_experts);
  EXPECT_FALSE(config.tied_head);
  EXPECT_TRUE(config.mrope_section.empty());
}

TEST(TextConfig, DefaultsAndNewRopeKeys) {
  ordered_json json = small();
  for (const char* key : {"num_key_value_heads", "head_dim", "norm_topk_prob", "rope_theta"}) {
    json.erase(key);
  }
  TextConfig config = read(json);
  EXPECT_EQ(config.kv_heads, 4);
  EXPECT_EQ(config.head_dim, 4);
  EXPECT_FALSE(config.normalize_experts);
  EXPECT_EQ(config.rope_theta, 10000.0);
  json["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 123.0}};
  EXPECT_EQ(read(json).rope_theta, 123.0);
  json["rope_scaling"] = {{"rope_type", "yarn"}};  // the new key wins
  EXPECT_EQ(read(json).rope_theta, 123.0);
}

TEST(TextConfig, WhichLayersHaveExperts) {
  ordered_json json = small();
  json["decoder_sparse_step"] = 2;
  TextConfig config = read(json);
  EXPECT_FALSE(config.is_sparse(0));
  EXPECT_TRUE(config.is_sparse(1));
  EXPECT_FALSE(config.is_sparse(2));
  json["decoder_sparse_step"] = 1;
  json["mlp_only_layers"] = {1};
  config = read(json);
  EXPECT_TRUE(config.is_sparse(0));
  EXPECT_FALSE(config.is_sparse(1));
}

// By hand: two tables 2*50*16 = 1600, final norm 16; a layer: norms 32, q and o 2*16*32 = 1024,
// k and v 2*16*16 = 512, q and k norm 16, router 96, an expert 3*16*12 = 576.
TEST(TextConfig, CountsParameters) {
  TextConfig config = qwen3_moe_config(files_of(small()));
  EXPECT_EQ(config.parameters(), 1616 + 3 * (32 + 1024 + 512 + 16 + 96 + 6 * 576));
  EXPECT_EQ(config.active_parameters(), 816 + 3 * (32 + 1024 + 512 + 16 + 96 + 2 * 576));
  config.tied_head = true;
  EXPECT_EQ(config.parameters(), 816 + 3 * (32 + 1024 + 512 + 16 + 96 + 6 * 576));
  config.dense_layers = {0};
  EXPECT_EQ(config.parameters(),
            816 + 3 * (32 + 1024 + 512 + 16) + 2 * (96 + 6 * 576) + 3 * 16 * 20);
}

TEST(TextConfig, OfThePublishedModel) {
  const TextConfig config = thinker_text_config(open_config(kGolden + "/config-full.json"));
  EXPECT_EQ(config.layers, 48);
  EXPECT_EQ(config.hidden_size, 2048);
  EXPECT_EQ(config.heads, 32);
  EXPECT_EQ(config.kv_heads, 4);
  EXPECT_EQ(config.head_dim, 128);
  EXPECT_EQ(config.vocab_size, 152064);
  EXPECT_EQ(config.experts, 128);
  EXPECT_EQ(config.experts_per_token, 8);
  EXPECT_EQ(config.rope_theta, 1e6);
  EXPECT_EQ(config.max_positions, 65536);
  EXPECT_EQ(config.mrope_section, (std::vector<int64_t>{24, 20, 20}));
  EXPECT_TRUE(config.qk_norm);
  EXPECT_FALSE(config.tied_head);
}

TEST(TextConfig, OfTheTinyModels) {
  const TextConfig omni = thinker_text_config(open_config(kTinyOmni));
  EXPECT_EQ(omni.layers, 5);
  EXPECT_EQ(omni.experts, 8);
  EXPECT_EQ(omni.mrope_section, (std::vector<int64_t>{6, 5, 5}));
  const TextConfig dense = qwen3_config(open_config(kTinyQwen3));
  EXPECT_TRUE(dense.tied_head);
  EXPECT_TRUE(dense.qk_norm);
  EXPECT_EQ(dense.experts, 0);
  EXPECT_EQ(dense.heads * dense.head_dim, 192) << "wider than the hidden size of 96";
  const TextConfig moe = qwen3_moe_config(open_config(kTinyMoe));
  EXPECT_EQ(moe.experts, 16);
  EXPECT_EQ(moe.experts_per_token, 4);
  EXPECT_FALSE(llama_config(open_config(kTinyQwen3)).qk_norm);
}

struct BadConfig {
  const char* patch;  ///< merged into a good config; null removes a key
  ErrorKind kind;
  const char* part;
};

class BadTextConfig : public testing::TestWithParam<BadConfig> {};

TEST_P(BadTextConfig, IsRefused) {
  ordered_json json = small();
  json.merge_patch(ordered_json::parse(GetParam().patch));
  expect_model_error(GetParam().kind, {"config.json", GetParam().part}, [&] { read(json); });
}

constexpr ErrorKind kCorrupt = ErrorKind::CorruptData;
constexpr ErrorKind kUnsupported = ErrorKind::Unsupported;

INSTANTIATE_TEST_SUITE_P(
    All,
    BadTextConfig,
    testing::Values(
        BadConfig{R"({"hidden_size": 18, "head_dim": null})", kCorrupt, "head_dim"},
        BadConfig{R"({"num_key_value_heads": 0})", kCorrupt, "num_key_value_heads"},
        BadConfig{R"({"num_key_value_heads": 3})", kCorrupt, "do not divide"},
        BadConfig{R"({"num_key_value_heads": 8})", kCorrupt, "do not divide"},
        BadConfig{R"({"num_attention_heads": 0})", kCorrupt, "num_attention_heads"},
        BadConfig{R"({"head_dim": 7})", kCorrupt, "even"},
        BadConfig{R"({"num_experts_per_tok": 7})", kCorrupt, "uses 7 of 6 experts"},
        BadConfig{R"({"num_experts_per_tok": 0})", kCorrupt, "num_experts_per_tok"},
        BadConfig{R"({"num_experts": 0})", kCorrupt, "num_experts"},
        BadConfig{R"({"num_experts": null})", kCorrupt, "num_experts"},
        BadConfig{R"({"moe_intermediate_size": -1})", kCorrupt, "moe_intermediate_size"},
        BadConfig{R"({"mlp_only_layers": [3]})", kCorrupt, "mlp_only_layers"},
        BadConfig{R"({"mlp_only_layers": [0], "intermediate_size": null})", kCorrupt,
                  "intermediate_size"},
        BadConfig{R"({"rope_scaling": {"mrope_section": [1, 1, 1], "mrope_interleaved": true}})",
                  kCorrupt, "mrope_section"},
        BadConfig{R"({"rope_scaling": {"mrope_section": [2, 2], "mrope_interleaved": true}})",
                  kCorrupt, "mrope_section"},
        BadConfig{R"({"rope_scaling": {"mrope_section": [-2, 3, 3], "mrope_interleaved": true}})",
                  kCorrupt, "mrope_section"},
        BadConfig{R"({"rope_scaling": {"mrope_section": [2, 1, 1]}})", kUnsupported, "sectioned"},
        BadConfig{R"({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}})", kUnsupported,
                  "yarn"},
        BadConfig{R"({"rope_scaling": {"type": "linear"}})", kUnsupported, "linear"},
        BadConfig{R"({"rope_parameters": {"rope_type": "llama3"}})", kUnsupported, "llama3"},
        BadConfig{R"({"rope_scaling": 4})", kCorrupt, "rope_scaling"},
        BadConfig{R"({"rope_theta": 0})", kCorrupt, "rope_theta"},
        BadConfig{R"({"rope_theta": "big"})", kCorrupt, "rope_theta"},
        BadConfig{R"({"use_sliding_window": true})", kUnsupported, "sliding window"},
        BadConfig{R"({"hidden_act": "gelu"})", kUnsupported, "gelu"},
        BadConfig{R"({"hidden_act": 5})", kCorrupt, "hidden_act"},
        BadConfig{R"({"hidden_size": 1e9})", kCorrupt, "hidden_size"},
        BadConfig{R"({"hidden_size": 9223372036854775807})", kCorrupt, "hidden_size"},
        BadConfig{R"({"hidden_size": -16})", kCorrupt, "hidden_size"},
        BadConfig{R"({"hidden_size": 16.0})", kCorrupt, "integer"},
        BadConfig{R"({"hidden_size": [16]})", kCorrupt, "integer"},
        BadConfig{R"({"num_hidden_layers": 100000})", kCorrupt, "num_hidden_layers"},
        BadConfig{R"({"num_hidden_layers": true})", kCorrupt, "num_hidden_layers"},
        BadConfig{R"({"vocab_size": 0})", kCorrupt, "vocab_size"},
        BadConfig{R"({"vocab_size": null})", kCorrupt, "vocab_size"},
        BadConfig{R"({"max_position_embeddings": 18446744073709551615})", kCorrupt,
                  "max_position_embeddings"},
        BadConfig{R"({"rms_norm_eps": -1e-6})", kCorrupt, "rms_norm_eps"},
        BadConfig{R"({"rms_norm_eps": 1e300})", kCorrupt, "rms_norm_eps"},
        BadConfig{R"({"tie_word_embeddings": 1})", kCorrupt, "tie_word_embeddings"}));

TEST(ModelFiles, ConfigsThatNameNoArchitecture) {
  const test::TempFolder folder;
  for (const char* text : {"[]", "5", "{}", R"({"architectures": "x"})", R"({"architectures": []})",
                           R"({"architectures": [3]})"}) {
    test::write_file(folder.path() / "config.json", text);
    expect_model_error(ErrorKind::CorruptData, {"config.json"},
                       [&] { open_config(folder.path().string()); });
  }
  expect_model_error(ErrorKind::Unsupported, {"Qwen9", "Qwen3MoeForCausalLM"},
                     [] { find_architecture(files_of({{"architectures", {"Qwen9"}}})); });
  expect_model_error(ErrorKind::NotFound, {"/nowhere"}, [] { open_model("/nowhere"); });
}

}  // namespace
}  // namespace candela::models
