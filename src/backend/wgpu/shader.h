#pragma once

#include <map>
#include <string>
#include <vector>

#include "backend/wgpu/kernel.h"

namespace candela::wgpu {

/// A shader after its directives are resolved.
struct ShaderText {
  struct Line {
    std::string file;
    int number = 0;
  };
  std::string text;
  std::vector<Line> lines;  ///< where each line of `text` comes from
};

/// Kernel sources by name: inside the program, or in the folder CANDELA_WGSL_DIR for live editing,
/// or registered at run time.
class Shaders {
 public:
  explicit Shaders(bool is_dawn);

  /// Adds a kernel that is not part of the program.
  void add(const std::string& name, std::string source);
  /// @throws NotFound  There is no kernel of this name.
  std::string source(const std::string& name) const;
  /// Resolves directives and puts the header in that the library wants for F16, SUBGROUPS and
  /// SUBGROUP_MATRIX among the defines.
  /// @throws Internal  naming file and line of a wrong directive
  ShaderText resolve(const KernelId& kernel) const;

  static std::vector<std::string> embedded_names();

 private:
  bool is_dawn_;
  std::string override_folder_;
  std::map<std::string, std::string> added_;
};

/// A library's message with its line numbers replaced by file:line of the kernel sources.
std::string map_lines(const std::string& message, const ShaderText& shader);

}  // namespace candela::wgpu
