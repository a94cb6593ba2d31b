// Every damaged config, tokenizer and template: exit code 3 or 4 and one clear line that names it.
#include "cli/support.h"

namespace candela::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

TEST(MalformedConfig, Text) {
  const QwenFolder folder;
  for (const std::string& text :
       {std::string(), std::string("{"), std::string("[]"), std::string("\xff"), std::string("{}"),
        std::string(R"({"architectures": 3})"), std::string(R"({"architectures": []})"),
        "{\"a\":" + std::string(100'000, '[') + std::string(100'000, ']') + "}"}) {
    SCOPED_TRACE(text.substr(0, 40));
    folder.write("config.json", text);
    expect_refused(folder, 4, "config.json");
  }
  folder.write("config.json", R"({"architectures": ["NoSuchModel"]})");
  expect_refused(folder, 4, "NoSuchModel");
  fs::remove(folder / "config.json");
  expect_refused(folder, 3, folder.path().string());
}

TEST(MalformedConfig, Values) {
  const QwenFolder folder;
  const ordered_json good = ordered_json::parse(folder.text("config.json"));
  const auto refused = [&](const char* key, const ordered_json& value,
                           const char* part = "config.json", int code = 4) {
    SCOPED_TRACE(std::string(key) + " " + value.dump());
    ordered_json bad = good;
    bad[key] = value;
    folder.write("config.json", bad.dump());
    expect_refused(folder, code, part);
  };
  for (const char* key : {"hidden_size", "num_attention_heads", "num_hidden_layers", "vocab_size",
                          "num_key_value_heads", "head_dim"}) {
    refused(key, 0);
    refused(key, -1);
    refused(key, "96");
    refused(key, 1e300);
  }
  refused("hidden_size", nullptr);
  refused("vocab_size", nullptr);
  refused("intermediate_size", -1);
  // A plain decoder's size may be absent where there are experts; here the shapes disagree.
  refused("intermediate_size", 0, "intermediate_size");
  refused("num_key_value_heads", 4);  // does not divide 6
  refused("head_dim", 31);            // rope needs pairs
  refused("rms_norm_eps", -1.0);
  refused("rope_theta", 0);
  refused("hidden_act", "tanhshrink");
  refused("num_key_value_heads", 12);  // more than heads
  refused("max_position_embeddings", 0);
  // Wrong only together with the other files: the tensor or the tokenizer is named.
  refused("head_dim", 16, "q_proj");
  refused("head_dim", nullptr, "q_proj");  // hidden size / heads
  refused("num_attention_heads", 4, "q_proj");
  refused("tie_word_embeddings", false, "lm_head.weight", 3);
  refused("hidden_size", 97, "96");
  refused("num_hidden_layers", 5, "model.layers.4", 3);
  refused("vocab_size", 1000, folder.path().c_str());
}

TEST(MalformedConfig, HeadsThatDoNotDivideTheWidth) {
  const QwenFolder folder;
  folder.edit("config.json", [](ordered_json& config) {
    config.erase("head_dim");
    config["num_attention_heads"] = config["num_key_value_heads"] = 5;
  });
  expect_refused(folder, 4, "config.json", "head_dim");
}

TEST(MalformedConfig, GenerationConfig) {
  const QwenFolder folder;
  for (const char* text :
       {"{", "[]", R"({"eos_token_id": "x"})", R"({"eos_token_id": -1})",
        R"({"do_sample": true, "temperature": -1})", R"({"do_sample": true, "top_p": 7})"}) {
    SCOPED_TRACE(text);
    folder.write("generation_config.json", text);
    expect_refused(folder, 4, "generation_config.json");
  }
}

TEST(MalformedConfig, Experts) {
  const TempFolder folder;
  const std::string moe = std::string(CANDELA_GOLDEN_DIR) + "/tiny_qwen3_moe";
  const ordered_json good = ordered_json::parse(read_text(moe + "/config.json"));
  for (const auto& [key, value] : {std::pair{"num_experts_per_tok", 1000},
                                   {"num_experts_per_tok", 0},
                                   {"moe_intermediate_size", 0},
                                   {"num_experts", -1}}) {
    SCOPED_TRACE(key);
    ordered_json bad = good;
    bad[key] = value;
    folder.write("config.json", bad.dump());
    expect_error(candela({"info", "--config", folder / "config.json"}), 4, key);
  }
  ordered_json bad = good;
  bad["num_experts_per_tok"] = 17;
  folder.write("config.json", bad.dump());
  expect_error(candela({"info", "--config", folder / "config.json"}), 4, "uses 17 of 16 experts");
}

TEST(MalformedConfig, ExpertsThatTheFilesDoNotHave) {
  const TempFolder folder;
  fs::copy(std::string(CANDELA_GOLDEN_DIR) + "/tiny_qwen3_moe", folder.path());
  const ordered_json good = ordered_json::parse(read_text(folder / "config.json"));
  for (const int experts : {15, 17}) {
    ordered_json bad = good;
    bad["num_experts"] = experts;
    fs::remove(folder / "config.json");
    folder.write("config.json", bad.dump());
    expect_refused(folder, 4, "mlp.gate.weight", std::to_string(experts));
  }
}

TEST(MalformedConfig, RopeSections) {
  const TempFolder folder;
  const ordered_json good = ordered_json::parse(read_text(kOmni + "/config.json"));
  const ordered_json lists[] = {{1, 1, 1},    {6, 5, 6},    {8, 8},
                                {4, 4, 4, 4}, {-6, 11, 11}, {"6", 5, 5}};
  for (const ordered_json& sections : lists) {
    SCOPED_TRACE(sections.dump());
    ordered_json bad = good;
    bad["thinker_config"]["text_config"]["rope_scaling"].at("mrope_section") = sections;
    folder.write("config.json", bad.dump());
    expect_error(candela({"info", "--config", folder / "config.json"}), 4, "mrope_section");
  }
}

TEST(MalformedTokenizer, Files) {
  const QwenFolder folder;
  const std::string good = folder.text("tokenizer.json");
  for (const std::string& text : {std::string(), std::string("{"), std::string("[]"),
                                  std::string("\xff"), std::string(100'000, '[')}) {
    SCOPED_TRACE(text.substr(0, 20));
    folder.write("tokenizer.json", text);
    expect_refused(folder, 4, "tokenizer.json");
  }
  folder.write("tokenizer.json", good);
  folder.edit("tokenizer.json",
              [](ordered_json& json) { json["model"]["merges"].push_back({"zzzz", "yyyy"}); });
  expect_refused(folder, 4, "tokenizer");
  folder.write("tokenizer.json", good);
  folder.edit("tokenizer.json", [](ordered_json& json) { json["added_tokens"][0]["id"] = 5; });
  expect_refused(folder, 4, "tokenizer");
  folder.write("tokenizer.json", good);
  folder.edit("tokenizer.json", [](ordered_json& json) {  // still the result of a merge
    json["model"]["vocab"].erase(json["model"]["merges"][0][0].get<std::string>() +
                                 json["model"]["merges"][0][1].get<std::string>());
  });
  expect_refused(folder, 4, "tokenizer");
  fs::remove(folder / "tokenizer.json");
  const std::string merges = folder.text("merges.txt");
  folder.write("merges.txt", merges + "zzzz yyyy\n");
  expect_refused(folder, 4, folder.path().string());
  folder.write("merges.txt", merges);
  folder.write("vocab.json", "{\"a\": -1}");
  expect_refused(folder, 4, "vocab.json");
  fs::remove(folder / "vocab.json");
  expect_refused(folder, 3, folder.path().string());
}

/// A token of the list "added_tokens"; the small model has rows for ids up to 1919.
ordered_json added_token(int id, const std::string& content) {
  return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", true}};
}

TEST(MalformedTokenizer, AddedTokensInsideEachOther) {
  const QwenFolder folder;
  const std::string good = folder.text("tokenizer.json");
  folder.edit("tokenizer.json", [](ordered_json& json) {
    std::string content;
    for (int id = 1785; id < 1885; ++id) {
      content += "<r>";
      json["added_tokens"].push_back(added_token(id, content));
    }
    json["added_tokens"].push_back(added_token(1885, "<|im_start|><r>"));
  });
  std::string text;
  for (int i = 0; i < 150; ++i) {
    text += "<r>";
  }
  // The longest that fits, from the left.
  const Result ids = candela({"tokenize", folder.path().string(), "--json", "<|im_start|>" + text});
  EXPECT_EQ(ids.code, 0) << ids.err;
  EXPECT_EQ(ordered_json::parse(ids.out)["ids"], (std::vector<int>{1885, 1884, 1833})) << ids.out;
  EXPECT_EQ(candela({"run", folder.path().string(), text, "--device", "cpu", "-n", "1", "-q",
                     "--parse-special"})
                .code,
            0);
  for (const auto& [id, content] : {std::pair{1785, "<|im_end|>"},  // has the id 1761
                                    {1785, ""},
                                    {1785, "a"},  // stands in the vocabulary
                                    {1790, "<r>"},
                                    {1761, "<r>"}}) {
    SCOPED_TRACE(content);
    folder.write("tokenizer.json", good);
    folder.edit("tokenizer.json", [&](ordered_json& json) {
      json["added_tokens"].push_back(added_token(id, content));
    });
    expect_refused(folder, 4, "tokenizer.json");
  }
}

TEST(MalformedTokenizer, PatternThatExplodes) {
  const QwenFolder folder;
  folder.edit("tokenizer.json", [](ordered_json& json) {
    json["pre_tokenizer"] = {{"type", "Split"},
                             {"pattern", {{"Regex", "(a+)+$("}}},
                             {"behavior", "Isolated"},
                             {"invert", false}};
  });
  expect_refused(folder, 4, "tokenizer.json");
}

constexpr const char* kBadTemplates[] = {
    "{% for", "{{ messages[0].nothing.deeper }}{{ 1 + }}",
    // Without end:
    "{% for i in range(1000000000) %}x{% endfor %}",
    "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "{% macro f() %}{{ g() }}{% endmacro %}{% macro g() %}{{ f() }}{% endmacro %}{{ f() }}",
    "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    // More memory than there is:
    "{% set n = namespace(x='aaaaaaaa') %}{% for i in range(64) %}{% set n.x = n.x ~ n.x %}"
    "{% endfor %}{{ n.x }}",
    "{{ 'a' * 1000000000000 }}",
    // Files:
    "{% include '/etc/passwd' %}", "{{ open('/etc/passwd').read() }}"};

TEST(MalformedTemplate, BrokenEndlessAndCurious) {
  const QwenFolder folder;
  for (const char* text : kBadTemplates) {
    SCOPED_TRACE(text);
    folder.write("chat_template.jinja", text);
    expect_refused(folder, 4, "chat_template.jinja");
  }
}

TEST(MalformedTemplate, GivenByHandOrInALine) {
  const QwenFolder folder;
  for (const char* text : kBadTemplates) {
    SCOPED_TRACE(text);
    folder.write("mine.jinja", text);
    expect_error(candela({"run", kQwen, "hi", "--device", "cpu", "-n", "1", "-q", "--chat-template",
                          folder / "mine.jinja"}),
                 4, "mine.jinja");
    expect_error(
        candela({"tokenize", folder.path().string(), "--jsonl"},
                R"({"messages": [{"role": "user", "content": "a"}], "template": "mine.jinja"})"),
        4, "mine.jinja");
  }
}

}  // namespace
}  // namespace candela::test
