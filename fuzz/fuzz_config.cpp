// config.json: whatever it says, reading it and listing its tensors ends soon and throws nothing
// but candela's errors.
#include <cstdlib>

#include "base/error.h"
#include "models/model.h"
#include "models/qwen3_omni/inventory.h"

namespace {

void require(bool holds) {
  if (!holds) {
    std::abort();
  }
}

template <typename Body>
void attempt(Body&& body) {
  try {
    body();
  } catch (const candela::Error&) {
    // The only exception that may leave the reader.
  }
}

void read_text_config(const candela::models::Architecture& architecture,
                      const candela::models::ModelFiles& files) {
  if (std::string_view(architecture.name).starts_with("gguf:")) {
    return;  // reads a GGUF file, which has its own target
  }
  const candela::models::TextConfig config = architecture.text_config(files);
  require(config.kv_heads > 0 && config.heads % config.kv_heads == 0 && config.head_dim % 2 == 0);
  require(config.experts_per_token <= config.experts);
  require(config.parameters() > 0 && config.active_parameters() > 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace candela::models;
  attempt([&] {
    ModelFiles files;
    files.path = "config.json";
    files.config = parse_json({reinterpret_cast<const char*>(data), size}, files.path);
    for (const Architecture& architecture : architectures()) {
      attempt([&] { read_text_config(architecture, files); });
    }
    for (const Part& part : omni_parts(files)) {
      require(!part.tensors.empty() && part.parameters() >= 0);
    }
  });
  return 0;
}
