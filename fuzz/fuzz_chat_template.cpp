// Input: a template, a zero byte, and the text of a user's message. Compiling or rendering may
// refuse with an Error and nothing else, and in bounded time.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"
#include "tokenizer/chat_template.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace candela;
  if (size > 8'000) {
    return 0;
  }
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const size_t zero = text.find('\0');
  ChatInput input;
  input.messages = nlohmann::ordered_json::array(
      {{{"role", "system"}, {"content", "Be brief."}},
       {{"role", "user"},
        {"content", zero == std::string_view::npos ? std::string("hi")
                                                   : std::string(text.substr(zero + 1))}}});
  input.tools = nlohmann::ordered_json::array(
      {{{"type", "function"}, {"function", {{"name", "f"}, {"parameters", {{"x", 1.5}}}}}}});
  try {
    ChatTemplate(std::string(text.substr(0, zero)), "of the fuzzer", nlohmann::json::object())
        .render(input);
  } catch (const Error&) {
    // Refusing is fine.
  }
  return 0;
}
