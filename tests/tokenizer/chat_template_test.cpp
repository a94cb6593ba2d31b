#include "tokenizer/chat_template.h"

#include <ctime>

#include "tokenizer/chat_prompt.h"
#include "tokenizer/support.h"

namespace candela::test {
namespace {

using nlohmann::ordered_json;

ChatInput input_of(const ordered_json& c) {
  ChatInput input;
  input.messages = c["messages"];
  input.tools = c.value("tools", ordered_json(nullptr));
  input.add_generation_prompt = c.value("add_generation_prompt", true);
  if (c.contains("enable_thinking")) {
    input.variables["enable_thinking"] = c["enable_thinking"];
  }
  return input;
}

ChatTemplate template_named(const std::string& name) {
  return ChatTemplate::from_file(golden_dir() / "tokenizer_real" / name);
}

std::string render(const std::string& source, ordered_json variables = ordered_json::object()) {
  ChatInput input;
  input.messages = ordered_json::array({{{"role", "user"}, {"content", "hi"}}});
  input.variables = std::move(variables);
  return ChatTemplate(source, "of the test", nlohmann::json::object()).render(input);
}

TEST(ChatTemplate, RendersAndEncodesEveryGolden) {
  const auto golden = golden_json("chat_template_cases.json");
  ASSERT_EQ(golden["cases"].size(), 33u);
  for (const auto& c : golden["cases"]) {
    const ChatTemplate chat_template = template_named(c["template"]);
    const ChatPrompt prompt =
        encode_chat(real_tokenizer(), chat_template, input_of(c), ParseSpecial::Yes);
    EXPECT_EQ(prompt.rendered, c["rendered"].get<std::string>()) << c["name"];
    EXPECT_EQ(prompt.ids, c["ids"].get<std::vector<uint32_t>>()) << c["name"];
  }
}

TEST(ChatTemplate, PlainContentsChangeOnlyTheCaseWithATokenInside) {
  for (const auto& c : golden_list("chat_template_cases.json", "cases")) {
    const ChatTemplate chat_template = template_named(c["template"]);
    const ChatPrompt prompt =
        encode_chat(real_tokenizer(), chat_template, input_of(c), ParseSpecial::No);
    EXPECT_EQ(prompt.rendered, c["rendered"].get<std::string>()) << c["name"];
    const bool inside = c["name"].get<std::string>().ends_with("special_in_text");
    EXPECT_EQ(prompt.ids != c["ids"].get<std::vector<uint32_t>>(), inside) << c["name"];
  }
}

TEST(ChatTemplate, SmallCheckpointHasTheTemplateOfTheGoldens) {
  const auto chat_template = ChatTemplate::from_folder(tiny_omni_dir());
  ASSERT_TRUE(chat_template.has_value());
  EXPECT_EQ(chat_template->source(), template_named("omni_chat_template.jinja").source());
}

TEST(ChatTemplate, SourcesInOrder) {
  TempFolder folder;
  EXPECT_FALSE(ChatTemplate::from_folder(folder.path()).has_value());
  ChatInput input;
  input.messages = ordered_json::array({{{"role", "user"}, {"content", "hi"}}});
  const auto rendered = [&] { return ChatTemplate::from_folder(folder.path())->render(input); };
  folder.with("tokenizer_config.json",
              R"({"eos_token": {"content": "</s>"}, "chat_template": [
                  {"name": "rag", "template": "no"}, {"name": "default", "template": "A{{eos_token}}"}]})");
  EXPECT_EQ(rendered(), "A</s>");
  folder.with("chat_template.json", R"({"chat_template": "B{{eos_token}}"})");
  EXPECT_EQ(rendered(), "B</s>");
  folder.with("chat_template.jinja", "C{{eos_token}}");
  EXPECT_EQ(rendered(), "C</s>");
  folder.with("own.jinja", "D{{eos_token}}");
  EXPECT_EQ(ChatTemplate::from_file(folder.path() / "own.jinja").render(input), "D</s>");
}

TEST(ChatTemplate, TrimsBlocksLikeTransformers) {
  EXPECT_EQ(render("a\n  {% if true %}\nb\n  {% endif %}\nc\n"), "a\nb\nc");
}

TEST(ChatTemplate, NamespacesHoldWhatTemplatesKeepInThem) {
  EXPECT_EQ(render("{% set ns = namespace(a=1, b=[]) %}{%- set ns.a, ns.b = 3, [4] -%}"
                   "{{ ns.a }}{{ ns.b[0] }}"),
            "34");
  EXPECT_EQ(render("{% set ns = namespace(l=[]) %}{% for i in range(2000) %}"
                   "{% set ns.l = ns.l + [i] %}{% endfor %}{{ ns.l | length }} {{ ns.l[1999] }}"),
            "2000 1999");
  EXPECT_EQ(render("{% set ns = namespace() %}{% set ns.m = messages[0] %}{{ ns.m.content }}"
                   "{% set ns.m %} block{% endset %}{{ ns.m }}"
                   "{% set ns.m = 'a' if false else dict(k=' d') %}{{ ns.m.k }}"),
            "hi block d");
}

TEST(ChatTemplate, JsonIsWrittenAsPythonDoes) {
  const auto value = ordered_json::parse(
      R"({"z": [1, 2.0, -0.5, 1e-5, 1e16, 1e15, 123456789012, 1.5e-7, 2.5e300],
          "a": "<\u00fc> & 'q' \"d\" \\ \n\t\u0001\u007f/", "n": null, "b": [true, false],
          "e": {}, "l": []})");
  EXPECT_EQ(render("{{ v | tojson }}", {{"v", value}}),
            "{\"z\": [1, 2.0, -0.5, 1e-05, 1e+16, 1000000000000000.0, 123456789012, 1.5e-07, "
            "2.5e+300], \"a\": \"<\u00fc> & 'q' \\\"d\\\" \\\\ \\n\\t\\u0001\x7f/\", \"n\": null, "
            "\"b\": [true, false], \"e\": {}, \"l\": []}");
  const ordered_json small = {{"b", ordered_json::array({1, "\u00fc"})}, {"a", 2}};
  EXPECT_EQ(render("{{ v | tojson(indent=2) }}", {{"v", small}}),
            "{\n  \"b\": [\n    1,\n    \"\u00fc\"\n  ],\n  \"a\": 2\n}");
  EXPECT_EQ(render("{{ v | tojson(sort_keys=true, ensure_ascii=true) }}", {{"v", small}}),
            "{\"a\": 2, \"b\": [1, \"\\u00fc\"]}");
  EXPECT_EQ(render("{{ v | tojson(separators=(',', ':')) }}", {{"v", small}}),
            "{\"b\":[1,\"\u00fc\"],\"a\":2}");
}

TEST(ChatTemplate, LoopControlsMethodsAndClock) {
  EXPECT_EQ(render("{% for i in range(9) %}{% if i == 1 %}{% continue %}{% endif %}"
                   "{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}"),
            "02");
  EXPECT_EQ(render("{{ '\\n ab '.strip() }}|{{ 'a,b'.split(',')[-1] }}|{{ 'ab'.startswith('a') }}"),
            "ab|b|True");
  EXPECT_EQ(render("{{ tools is none }} {{ documents is none }} {{ nothing is defined }}"),
            "True True False");
  const std::time_t now = std::time(nullptr);
  char year[8];
  std::strftime(year, sizeof(year), "%Y", std::localtime(&now));
  EXPECT_EQ(render("{{ strftime_now('%Y') }}"), year);
}

}  // namespace
}  // namespace candela::test
