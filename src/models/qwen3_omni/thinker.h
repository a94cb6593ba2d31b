#pragma once

#include <array>
#include <string_view>

#include "models/model.h"

namespace candela::models {

/// The parts that a text answer does not need.
inline constexpr std::array<std::string_view, 4> kThinkerUnused{
    "thinker.audio_tower.", "thinker.visual.", "talker.", "code2wav."};

/// Text config of the thinker, under thinker_config.text_config.
TextConfig thinker_text_config(const ModelFiles& files);

/// The thinker's text decoder of a Qwen3-Omni checkpoint. The other parts (audio tower, vision
/// tower, talker, code2wav) may be absent; if present they must be whole and of the config's
/// shapes, and are named in `unused_parts`.
std::unique_ptr<Model> load_thinker(const ModelFiles& files, const Weights& weights);

}  // namespace candela::models
