#pragma once

#include <map>
#include <string>

#include "tensor/tensor.h"
#include "weights/source.h"

namespace candela {

/// Makes weights instead of reading them (see Weights::synthetic).
class SyntheticWeights {
 public:
  explicit SyntheticWeights(uint64_t seed) : seed_(seed) {}

  /// What is known of a name; made up at the first question.
  WeightInfo& info(const std::string& name);
  /// @param inputs  Elements that one output sums over; its root divides the deviation.
  Tensor make(const std::string& name, const Shape& shape, int64_t inputs, const Device& device);

 private:
  uint64_t seed_;
  std::map<std::string, WeightInfo, std::less<>> infos_;  ///< entries keep their address
};

}  // namespace candela
