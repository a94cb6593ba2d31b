#pragma once

#include <functional>
#include <string>

#include "tensor/tensor.h"

namespace candela::nn {

/// Receives intermediate tensors by name while a model runs, for people who port models and for
/// the goldens. A default-made Trace wants nothing and costs one comparison.
struct Trace {
  /// Whether a tensor of this full name is of interest; asked before extra work is done for it.
  std::function<bool(const std::string& name)> wants_name;
  std::function<void(const std::string& name, const Tensor& value)> record;
  std::string prefix;

  /// The same receiver for names below `scope`: "L0.".
  Trace at(const std::string& scope) const {
    return record ? Trace{wants_name, record, prefix + scope} : Trace{};
  }
  bool wants(const char* name) const { return record && wants_name(prefix + name); }
  void operator()(const char* name, const Tensor& value) const {
    if (wants(name)) {
      record(prefix + name, value);
    }
  }
};

}  // namespace candela::nn
