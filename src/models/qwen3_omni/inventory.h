#pragma once

#include <string>
#include <vector>

#include "models/model_files.h"

namespace candela::models {

/// One tensor that a checkpoint of this config has.
struct ExpectedTensor {
  std::string name;
  Shape shape;
};

/// One part of Qwen3-Omni and every tensor it consists of. Sources: tables of the released index;
/// modeling_qwen3_omni_moe.py.
struct Part {
  std::string name;    ///< "text decoder", "audio tower", ...
  std::string prefix;  ///< of all its tensors: "thinker.audio_tower."
  bool required = false;
  std::vector<ExpectedTensor> tensors;

  int64_t parameters() const;
};

/// All parts that the config describes, in the order in which data passes through them; parts whose
/// config is absent are left out. @throws CorruptData naming key and value
std::vector<Part> omni_parts(const ModelFiles& files);

/// What a part of the expected tensors is in the files.
struct PartState {
  int64_t present = 0;
  std::vector<std::string> missing;
  std::vector<std::string> misshapen;  ///< "name: [2, 3] instead of [3, 3]"
};
PartState compare_part(const Part& part, const WeightSource& source);

}  // namespace candela::models
