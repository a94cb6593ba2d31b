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

  /// Adds a kernel that is not part of the program; adding it again changes nothing.
  /// @throws InvalidArgument  The name stands for another source.
  void add(const std::string& name, const std::string& source);
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

/// Bytes of `struct Params` of a resolved shader by WGSL's layout rules, without padding at its
/// end; 0 if it declares none.
/// @throws Internal  A field is not made of 4-byte numbers, or a gap lies before it: then no C++
///   struct of 4-byte fields matches.
uint32_t params_bytes(const std::string& wgsl, const std::string& kernel);

/// A library's message with its line numbers replaced by file:line of the kernel sources.
std::string map_lines(const std::string& message, const ShaderText& shader);

}  // namespace candela::wgpu
