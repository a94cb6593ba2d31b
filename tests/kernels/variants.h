#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

namespace candela::wgpu {

/// One way to resolve the directives of a kernel.
struct Variant {
  std::vector<std::string> defines;
  std::vector<std::pair<std::string, std::string>> substitutions = {};
};

/// Independent choices: one alternative of each axis makes a variant.
using Axes = std::vector<std::vector<Variant>>;

/// Choices of every kernel that is dispatched, as the code beside it makes them.
const std::map<std::string, Axes>& kernel_variants();

/// All combinations.
std::vector<Variant> all_variants(const Axes& axes);

}  // namespace candela::wgpu
