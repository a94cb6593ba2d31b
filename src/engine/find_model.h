#pragma once

#include <string>

namespace candela::engine {

/// Where MODEL lies: a folder or file as given, or `Org/Name[@revision]` in the Hugging Face cache
/// (HF_HUB_CACHE, $HF_HOME/hub, $XDG_CACHE_HOME/huggingface/hub, ~/.cache/huggingface/hub).
/// Nothing is downloaded.
/// @throws NotFound with the command that fetches the model
std::string find_model(const std::string& model);

}  // namespace candela::engine
