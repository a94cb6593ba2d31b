#include <algorithm>
#include <map>
#include <regex>
#include <string>

#include "backend/wgpu/shader.h"
#include "base/error.h"

namespace candela::wgpu {
namespace {

struct Extent {
  uint32_t bytes = 0;
  uint32_t align = 4;
};

using Structs = std::map<std::string, Extent>;

/// u32, vec4<f32>, vec2u, or a struct seen before; 0 bytes for anything else.
Extent extent_of(const std::string& type, const Structs& structs) {
  static const std::regex kVector("vec([234])(<[uif]32>|[uif])");
  static const std::regex kArray("array<(.+),([0-9]+)u?>");
  std::smatch match;
  if (std::regex_match(type, match, kArray)) {
    // wgpu-native wants elements of uniform arrays 16 bytes apart.
    const Extent element = extent_of(match[1].str(), structs);
    const auto count = static_cast<uint32_t>(std::stoul(match[2].str()));
    return {element.bytes % 16 == 0 ? element.bytes * count : 0, element.align};
  }
  if (type == "u32" || type == "i32" || type == "f32") {
    return {4, 4};
  }
  if (std::regex_match(type, match, kVector)) {
    const auto count = static_cast<uint32_t>(std::stoul(match[1].str()));
    return {count * 4, count == 2 ? 8u : 16u};
  }
  const auto found = structs.find(type);
  return found != structs.end() ? found->second : Extent{0, 4};
}

uint32_t round_up(uint32_t value, uint32_t step) {
  return (value + step - 1) / step * step;
}

std::string without_spaces(std::string text) {
  std::erase(text, ' ');
  return text;
}

std::string without_comments(const std::string& text) {
  static const std::regex kComment("//[^\n]*");
  return std::regex_replace(text, kComment, "");
}

}  // namespace

uint32_t params_bytes(const std::string& wgsl, const std::string& kernel) {
  static const std::regex kDeclaration(R"(struct\s+(\w+)\s*\{([^}]*)\})");
  static const std::regex kField(R"((\w+)\s*:\s*([\w]+(?:<[\w<>, ]*>)?)\s*(,|$))");
  const std::string text = without_comments(wgsl);
  Structs structs;
  for (std::sregex_iterator it(text.begin(), text.end(), kDeclaration), end; it != end; ++it) {
    const std::string name = (*it)[1].str();
    const std::string body = (*it)[2].str();
    Extent extent;
    bool plain = true;
    for (std::sregex_iterator f(body.begin(), body.end(), kField); f != end; ++f) {
      const Extent member = extent_of(without_spaces((*f)[2].str()), structs);
      plain = plain && member.bytes != 0 && extent.bytes % member.align == 0;
      if (name == "Params" && !plain) {
        fail(ErrorKind::Internal, Subject::Device,
             "The struct Params of kernel {} has a field {} that no C++ struct of 4-byte fields "
             "matches: a gap lies before it, or its type {} is not made of 32-bit numbers.",
             kernel, (*f)[1].str(), (*f)[2].str());
      }
      extent.bytes = round_up(extent.bytes, member.align) + member.bytes;
      extent.align = std::max(extent.align, member.align);
    }
    if (name == "Params") {
      return extent.bytes;
    }
    structs[name] = {plain ? round_up(extent.bytes, extent.align) : 0, extent.align};
  }
  return 0;
}

}  // namespace candela::wgpu
