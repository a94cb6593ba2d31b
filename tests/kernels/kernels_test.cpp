// Every kernel file: used or included, its variants compile on the opened library, its bindings and
// params are what a dispatch expects.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "backend/wgpu/context.h"
#include "backend/wgpu/pipeline.h"
#include "backend/wgpu/shader.h"
#include "backend/wgpu/wgpu_backend.h"
#include "base/error.h"
#include "variants.h"

namespace candela::wgpu {
namespace {

namespace fs = std::filesystem;

std::string read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string source_of(const std::string& kernel) {
  return read_file(fs::path(CANDELA_SOURCE_DIR) / "src/backend/wgpu/kernels" / (kernel + ".wgsl"));
}

bool has_entry_point(const std::string& source) {
  return source.find("@compute") != std::string::npos;
}

std::vector<std::string> includes_of(const std::string& source) {
  static const std::regex include("//:include (\\w+)");
  std::vector<std::string> names;
  for (std::sregex_iterator it(source.begin(), source.end(), include), end; it != end; ++it) {
    names.push_back((*it)[1].str());
  }
  return names;
}

/// Whether the kernel, with its includes, has an entry point of its own.
bool is_dispatched(const std::string& kernel) {
  const std::string source = source_of(kernel);
  if (has_entry_point(source)) {
    return kernel != "walk";
  }
  const auto includes = includes_of(source);
  return std::find(includes.begin(), includes.end(), "walk") != includes.end();
}

struct Bindings {
  size_t operands = 0;
  uint32_t written = 0;
};

/// Storage bindings 0 .. n-1 and the uniform n, out of a resolved shader.
Bindings bindings_of(const std::string& text, const std::string& what) {
  static const std::regex binding(
      R"(@binding\((\d+)\)\s*var<(storage|uniform)(?:,\s*(read_write|read))?>)");
  std::set<uint32_t> storage;
  uint32_t uniform = UINT32_MAX;
  Bindings found;
  for (std::sregex_iterator it(text.begin(), text.end(), binding), end; it != end; ++it) {
    const auto number = static_cast<uint32_t>(std::stoul((*it)[1].str()));
    if ((*it)[2].str() == "uniform") {
      EXPECT_EQ(uniform, UINT32_MAX) << what << " has two uniforms";
      uniform = number;
    } else {
      EXPECT_TRUE(storage.insert(number).second) << what << " has binding " << number << " twice";
      found.written |= (*it)[3].str() == "read_write" ? 1u << number : 0u;
    }
  }
  found.operands = storage.size();
  EXPECT_LE(storage.size(), kMaxOperands) << what;
  EXPECT_TRUE(storage.empty() || *storage.rbegin() + 1 == storage.size())
      << what << " leaves a storage binding out";
  EXPECT_EQ(uniform, storage.size()) << what << ": the params are not the last binding";
  return found;
}

/// @param minimum  8 storage buffers, 256 threads, 16 KiB
WgpuBackend& backend(bool minimum) {
  const auto options = [](bool least) {
    WgpuOptions wanted;
    wanted.checked = true;
    wanted.minimum_limits = least;
    return wanted;
  };
  static WgpuBackend least(options(true));
  static WgpuBackend usual(options(false));
  return minimum ? least : usual;
}

TEST(Kernels, EveryFileIsDispatchedOrIncluded) {
  std::string code;
  for (const auto& entry :
       fs::directory_iterator(fs::path(CANDELA_SOURCE_DIR) / "src/backend/wgpu")) {
    code += entry.path().extension() == ".cpp" ? read_file(entry.path()) : "";
  }
  std::set<std::string> included;
  for (const std::string& kernel : Shaders::embedded_names()) {
    for (const std::string& name : includes_of(source_of(kernel))) {
      included.insert(name);
    }
  }
  for (const std::string& kernel : Shaders::embedded_names()) {
    if (is_dispatched(kernel)) {
      EXPECT_NE(code.find('"' + kernel + '"'), std::string::npos)
          << kernel << " is never dispatched";
    } else {
      EXPECT_TRUE(included.contains(kernel)) << kernel << " is never included";
    }
  }
}

TEST(Kernels, EveryDispatchedFileHasVariants) {
  for (const std::string& kernel : Shaders::embedded_names()) {
    EXPECT_EQ(kernel_variants().contains(kernel), is_dispatched(kernel)) << kernel;
  }
}

TEST(Kernels, EveryConditionOccursInAVariant) {
  static const std::regex condition("//:if (\\w+)");
  for (const auto& [kernel, axes] : kernel_variants()) {
    std::set<std::string> defines = {"DAWN", "NATIVE", "F16"};
    for (const Variant& variant : all_variants(axes)) {
      defines.insert(variant.defines.begin(), variant.defines.end());
    }
    const std::string source = source_of(kernel);
    for (std::sregex_iterator it(source.begin(), source.end(), condition), end; it != end; ++it) {
      EXPECT_TRUE(defines.contains((*it)[1].str()))
          << kernel << ".wgsl asks for " << (*it)[1].str() << ", which no variant defines";
    }
  }
}

TEST(Kernels, FilesAreShortAndExplained) {
  for (const std::string& kernel : Shaders::embedded_names()) {
    const std::string source = source_of(kernel);
    EXPECT_LE(std::count(source.begin(), source.end(), '\n'), 250) << kernel;
    EXPECT_EQ(source.rfind("// " + kernel + ": ", 0), 0u)
        << kernel << " does not start with its head";
  }
}

class KernelVariants : public testing::TestWithParam<std::string> {};

TEST_P(KernelVariants, Compile) {
  // The only kernel that is not used where workgroup memory is as small as allowed.
  Context& context = backend(GetParam() != "attention_step").context();
  const Limits& limits = context.limits();
  const bool subgroups = limits.subgroup_min != 0 && limits.subgroup_min == limits.subgroup_max;
  int compiled = 0;
  int skipped = 0;
  for (const Variant& variant : all_variants(kernel_variants().at(GetParam()))) {
    const auto wants = [&](const char* define) {
      return std::find(variant.defines.begin(), variant.defines.end(), define) !=
             variant.defines.end();
    };
    if ((wants("SUBGROUPS") && !subgroups) ||
        (wants("SUBGROUP_MATRIX") && !limits.subgroup_matrix)) {
      ++skipped;
      continue;
    }
    const KernelId id{GetParam().c_str(), variant.defines, variant.substitutions};
    try {
      KernelId full = id;
      full.substitutions.emplace_back("SUBGROUP_SIZE", fmt::format("{}u", limits.subgroup_min));
      const ShaderText text = context.shaders().resolve(full);
      const Bindings bindings = bindings_of(text.text, describe(id));
      const Pipeline& pipeline = context.pipelines().get(id, bindings.operands, bindings.written);
      EXPECT_GT(pipeline.param_bytes, 0u) << describe(id) << " has no struct Params";
      EXPECT_LE(pipeline.param_bytes, kParamSlot) << describe(id);
      ++compiled;
    } catch (const Error& error) {
      ADD_FAILURE() << describe(id) << ": " << error.what();
    }
  }
  EXPECT_GT(compiled + skipped, 0);
}

std::vector<std::string> kernel_names() {
  std::vector<std::string> names;
  for (const auto& [kernel, axes] : kernel_variants()) {
    names.push_back(kernel);
  }
  return names;
}

INSTANTIATE_TEST_SUITE_P(All,
                         KernelVariants,
                         testing::ValuesIn(kernel_names()),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace candela::wgpu
