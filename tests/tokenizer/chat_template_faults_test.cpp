// Templates and conversations that must not be believed: each ends in one clear line.
#include <chrono>

#include "tokenizer/chat_prompt.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/support.h"

namespace candela::test {
namespace {

using nlohmann::ordered_json;

ChatInput greeting() {
  ChatInput input;
  input.messages = ordered_json::array({{{"role", "user"}, {"content", "hi"}}});
  return input;
}

Error template_error(const std::string& source, const ChatInput& input = greeting()) {
  const auto start = std::chrono::steady_clock::now();
  const Error error = error_of(
      [&] { ChatTemplate(source, "of the test", nlohmann::json::object()).render(input); });
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20)) << source;
  return error;
}

void expect_model_fault(const std::string& source, const std::string& part) {
  const Error error = template_error(source);
  EXPECT_EQ(error.kind(), ErrorKind::CorruptData) << source;
  EXPECT_EQ(error.subject(), Subject::Model) << source;
  EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
}

TEST(ChatTemplateFaults, SyntaxNamesTheLine) {
  expect_model_fault("line one\n{% if %}", "line 2");
  expect_model_fault("{{ messages", "malformed");
  expect_model_fault("{% endfor %}", "malformed");
  expect_model_fault(std::string("\xFF{{ 1 }}"), "UTF-8");
  expect_model_fault(std::string((1 << 20) + 1, 'x'), "bytes long");
  expect_model_fault("{{ " + std::string(100'000, '[') + " }}", "malformed");
  expect_model_fault("{{ " + std::string(100'000, '(') + "1 }}", "malformed");
}

TEST(ChatTemplateFaults, LoopsAreStopped) {
  const std::string many = "{% for a in range(99999) %}";
  const std::string end = "{% endfor %}";
  expect_model_fault(many + many + many + "x" + end + end + end, "limit");
  expect_model_fault(many + many + end + end, "limit");
  expect_model_fault("{% for a in range(1000000000000) %}x{% endfor %}", "range");
}

TEST(ChatTemplateFaults, MemoryIsBounded) {
  expect_model_fault("{{ 'x' * 100000000000 }}", "limit");
  expect_model_fault(
      "{% set ns = namespace(s='x') %}{% for i in range(60) %}"
      "{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }}",
      "limit");
  expect_model_fault(
      "{% set ns = namespace(s=[1]) %}{% for i in range(60) %}"
      "{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s | tojson }}",
      "limit");
  expect_model_fault("{{ ('%099999999d' | format(1)) }}", "");
}

TEST(ChatTemplateFaults, RecursionIsStopped) {
  expect_model_fault("{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}", "recursion");
  expect_model_fault("{% for m in messages recursive %}{{ loop([1]) }}{% endfor %}", "");
  expect_model_fault(
      "{% set ns = namespace(x=[]) %}{% for i in range(100) %}"
      "{% for j in range(1000) %}{% set ns.x = [ns.x] %}{% endfor %}{% endfor %}"
      "{{ ns.x | tojson }}",
      "");
}

std::string repeat(std::string_view text, int count) {
  std::string all;
  while (count-- > 0) {
    all += text;
  }
  return all;
}

// Each of these ran off the stack before source_guard.rs bounded expressions and values.
TEST(ChatTemplateFaults, LongExpressionsAreRefused) {
  for (const char* link : {" + 1", " ~ 1", "|int", "**2", " and 1", ".a", "[0]", " if 1 else 1"}) {
    expect_model_fault("{{ 1" + repeat(link, 50'000) + " }}", "tokens");
  }
  expect_model_fault("{{ " + repeat("-", 50'000) + "1 }}", "tokens");
  expect_model_fault("{{ " + repeat("not ", 50'000) + "1 }}", "tokens");
  expect_model_fault(repeat("{% if 1 %}", 9'000) + repeat("{% endif %}", 9'000), "tokens");
}

TEST(ChatTemplateFaults, NamespacesCannotNestWithoutEnd) {
  const std::string loop = "{% set ns = namespace(x=[]) %}{% for i in range(90000) %}";
  const std::string end = "{% endfor %}{{ ns.x }}";
  expect_model_fault(loop + "{% set ns.x = [ns.x] %}" + end, "nested too deeply");
  expect_model_fault(loop + "{%- set ns.x = {'a': ns.x} -%}" + end, "nested too deeply");
  expect_model_fault(loop + "{% set ns.x = ns %}" + end, "namespace cannot hold");
  expect_model_fault(loop + "{% set ns.x = [ns] %}" + end, "namespace cannot hold");
  expect_model_fault(loop + "{% set ns.x = loop %}" + end, "namespace cannot hold");
  expect_model_fault(loop + "{% macro m() %}{% endmacro %}{% set ns.x = m %}" + end,
                     "namespace cannot hold");
  expect_model_fault(loop + "{% set ns.x = [ns.x]) if (1 %}" + end, "parentheses");
  expect_model_fault(loop + "{% set ns.x | batch(1, ns.x) %}a{% endset %}" + end, "filtered block");
}

TEST(ChatTemplateFaults, NothingIsReadOrIncluded) {
  for (const char* statement : {"{% include '/etc/passwd' %}", "{% import '/etc/passwd' as p %}",
                                "{% extends 'chat' %}", "{% from 'x' import y %}"}) {
    expect_model_fault(statement, "malformed");
  }
  for (const char* call : {"{{ open('/etc/passwd') }}", "{{ ''.__class__.__mro__ }}",
                           "{{ self._TemplateReference__context }}",
                           "{{ lipsum.__globals__['os'].popen('id').read() }}"}) {
    expect_model_fault(call, "");
  }
}

TEST(ChatTemplateFaults, TemplateMayRejectTheConversation) {
  const Error error = template_error("{{ raise_exception('roles must alternate') }}");
  EXPECT_EQ(error.kind(), ErrorKind::InvalidArgument);
  EXPECT_EQ(error.subject(), Subject::Input);
  EXPECT_NE(std::string(error.what()).find("roles must alternate"), std::string::npos);
}

TEST(ChatTemplateFaults, ConversationsAreChecked) {
  const auto input_error = [](const char* messages, const char* tools = "null") {
    ChatInput input;
    input.messages = ordered_json::parse(messages);
    input.tools = ordered_json::parse(tools);
    const Error error = template_error("x", input);
    EXPECT_EQ(error.kind(), ErrorKind::InvalidArgument) << messages;
    EXPECT_EQ(error.subject(), Subject::Input) << messages;
    return std::string(error.what());
  };
  input_error("[]");
  input_error("{}");
  input_error("[1]");
  EXPECT_NE(input_error(R"([{"role": "user"}, {"role": 3}])").find("Message 2"), std::string::npos);
  input_error(R"([{"role": "user"}])", R"({"name": "f"})");
  const std::string deep = std::string(5000, '[') + std::string(5000, ']');
  input_error((R"([{"role": "user", "content": )" + deep + "}]").c_str());
  ChatInput input = greeting();
  input.messages[0]["content"] = "a\xC3";
  EXPECT_EQ(template_error("x", input).kind(), ErrorKind::InvalidArgument);
}

TEST(ChatTemplateFaults, FilesAreChecked) {
  TempFolder folder;
  const auto folder_error = [&](const char* name, const char* text) {
    folder.with(name, text);
    const Error error = error_of([&] { ChatTemplate::from_folder(folder.path()); });
    EXPECT_EQ(error.kind(), ErrorKind::CorruptData) << text;
    EXPECT_EQ(error.subject(), Subject::Model) << text;
    EXPECT_NE(std::string(error.what()).find(name), std::string::npos) << error.what();
  };
  folder_error("tokenizer_config.json", "{");
  folder_error("tokenizer_config.json", "[]");
  folder_error("tokenizer_config.json", R"({"chat_template": 3})");
  folder_error("tokenizer_config.json", R"({"chat_template": [1]})");
  folder_error("tokenizer_config.json", R"({"chat_template": []})");
  folder.with("tokenizer_config.json", "{}");
  folder_error("chat_template.json", R"({"chat_template": "{% if %}"})");
  const Error missing = error_of([&] { ChatTemplate::from_file(folder.path() / "no.jinja"); });
  EXPECT_EQ(missing.kind(), ErrorKind::NotFound);
}

}  // namespace
}  // namespace candela::test
