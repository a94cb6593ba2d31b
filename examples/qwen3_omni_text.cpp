// Opens a Qwen3-Omni checkpoint (or any other text model that candela reads) and streams an answer:
//   qwen3_omni_text [MODEL] [cpu|wgpu] [QUESTION]
// MODEL is a folder, a .gguf file, or Org/Name in the Hugging Face cache. Without one, the
// environment variable CANDELA_EXAMPLE_MODEL or the tiny model of the source folder is taken, whose
// weights are random: it answers, but says nothing.
#include <fmt/core.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "base/error.h"
#include "engine/engine.h"

using namespace candela;

namespace {

std::string default_model() {
  const char* named = std::getenv("CANDELA_EXAMPLE_MODEL");
  return named != nullptr ? named : "models/tiny-omni";
}

Device open_device(const std::string& name) {
  if (name != "cpu" && name != "wgpu") {
    fail(ErrorKind::InvalidArgument, Subject::Usage, "The device is {}, it must be cpu or wgpu.",
         name);
  }
  return name == "cpu" ? Device::cpu() : Device::wgpu();
}

void answer(const std::string& model, const Device& device, const std::string& question) {
  engine::Engine engine(model, device);
  fmt::print("{} on {}: {}\n", engine.files().architecture, device.name(), summary(engine.plan()));
  for (const std::string& part : engine.model().unused_parts) {
    fmt::print("not needed for text: {}\n", part);
  }

  // What people write stays text: "<|im_end|>" in a question ends nobody's turn.
  ChatInput chat;
  chat.messages.push_back({{"role", "user"}, {"content", question}});
  engine::Request request = engine.make_request(engine.encode(chat, ParseSpecial::No).ids);
  request.max_new_tokens = 64;

  const auto print = [](size_t, const std::string& piece) {
    fmt::print("{}", piece);
    return std::fflush(stdout) == 0;
  };
  const engine::TextGeneration out = engine.answer({&request, 1}, print);
  fmt::print("\n[{}] {}\n", engine::name_of(out.answers[0].reason), summary(out.stats));
}

}  // namespace

int main(int argc, char** argv) try {
  const std::string model = argc > 1 ? argv[1] : default_model();
  const Device device = open_device(argc > 2 ? argv[2] : "wgpu");
  answer(model, device, argc > 3 ? argv[3] : "What can you do?");
  return 0;
} catch (const std::exception& error) {
  fmt::print(stderr, "error: {}\n", error.what());
  return 1;
}
