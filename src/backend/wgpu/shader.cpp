#include "backend/wgpu/shader.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>
#include <string_view>

#include "backend/wgpu/embedded.h"
#include "base/error.h"

namespace candela::wgpu {
namespace {

constexpr int kMaxIncludeDepth = 8;

std::string_view trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r");
  return begin == std::string_view::npos
             ? std::string_view()
             : text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1);
}

/// One run over a kernel and its includes.
class Resolver {
 public:
  Resolver(const Shaders& shaders, const KernelId& kernel) : shaders_(shaders), kernel_(kernel) {}

  void add_header(const std::string& line) { put(line, "header", 1); }

  void include(const std::string& name, int depth) {
    if (depth > kMaxIncludeDepth) {
      wrong(name, 1, "includes nest too deeply");
    }
    if (!included_.insert(name).second) {
      return;
    }
    std::istringstream source(shaders_.source(name));
    std::vector<Branch> branches;
    std::string line;
    int number = 0;
    while (std::getline(source, line)) {
      ++number;
      if (!directive(trim(line), name, number, depth, branches) && active(branches)) {
        put(substituted(line, name, number), name, number);
      }
    }
    if (!branches.empty()) {
      wrong(name, branches.back().line, "this //:if has no //:end");
    }
  }

  ShaderText take() { return std::move(out_); }

 private:
  struct Branch {
    bool taken = false;
    bool has_else = false;
    int line = 0;
  };

  static bool active(const std::vector<Branch>& branches) {
    return std::all_of(branches.begin(), branches.end(), [](const Branch& b) { return b.taken; });
  }

  [[noreturn]] static void wrong(const std::string& file, int line, std::string_view what) {
    fail(ErrorKind::Internal, Subject::Device, "The kernel source {}.wgsl:{} is wrong: {}.", file,
         line, what);
  }

  bool defined(std::string_view name) const {
    return std::find(kernel_.defines.begin(), kernel_.defines.end(), name) != kernel_.defines.end();
  }

  bool directive(std::string_view line,
                 const std::string& file,
                 int number,
                 int depth,
                 std::vector<Branch>& branches) {
    if (!line.starts_with("//:")) {
      return false;
    }
    const size_t space = line.find(' ');
    const std::string_view word = line.substr(3, space == line.npos ? line.npos : space - 3);
    const std::string_view rest =
        space == line.npos ? std::string_view() : trim(line.substr(space));
    if (word == "if" && !rest.empty()) {
      branches.push_back({defined(rest), false, number});
    } else if (word == "else" && !branches.empty() && !branches.back().has_else) {
      branches.back().taken = !branches.back().taken;
      branches.back().has_else = true;
    } else if (word == "end" && !branches.empty()) {
      branches.pop_back();
    } else if (word == "include" && !rest.empty()) {
      if (active(branches)) {
        include(std::string(rest), depth + 1);
      }
    } else {
      wrong(file, number, "this directive is unknown or has no counterpart");
    }
    return true;
  }

  std::string substituted(const std::string& line, const std::string& file, int number) const {
    std::string out;
    size_t at = 0;
    for (size_t open = line.find("{{"); open != line.npos; open = line.find("{{", at)) {
      const size_t close = line.find("}}", open);
      if (close == line.npos) {
        break;
      }
      const std::string_view name = std::string_view(line).substr(open + 2, close - open - 2);
      const auto found = std::find_if(kernel_.substitutions.begin(), kernel_.substitutions.end(),
                                      [&](const auto& pair) { return pair.first == name; });
      if (found == kernel_.substitutions.end()) {
        wrong(file, number, fmt::format("nothing is given for {{{{{}}}}}", name));
      }
      out.append(line, at, open - at);
      out += found->second;
      at = close + 2;
    }
    out.append(line, at);
    return out;
  }

  void put(const std::string& line, const std::string& file, int number) {
    // A substitution may bring several lines; they all count as the line it stands on.
    const auto breaks = 1 + std::count(line.begin(), line.end(), '\n');
    out_.text += line;
    out_.text += '\n';
    out_.lines.insert(out_.lines.end(), static_cast<size_t>(breaks), {file + ".wgsl", number});
  }

  const Shaders& shaders_;
  const KernelId& kernel_;
  std::set<std::string> included_;
  ShaderText out_;
};

}  // namespace

Shaders::Shaders(bool is_dawn) : is_dawn_(is_dawn) {
  const char* folder = std::getenv("CANDELA_WGSL_DIR");
  override_folder_ = folder != nullptr ? folder : "";
}

void Shaders::add(const std::string& name, const std::string& source) {
  const std::vector<std::string> own = embedded_names();
  const auto [entry, fresh] = added_.try_emplace(name, source);
  if (entry->second != source || std::find(own.begin(), own.end(), name) != own.end()) {
    fail(ErrorKind::InvalidArgument, Subject::Usage,
         "The kernel name {} already stands for another source; choose another name.", name);
  }
}

std::vector<std::string> Shaders::embedded_names() {
  std::vector<std::string> names;
  for (const EmbeddedKernel* kernel = kEmbeddedKernels; kernel->name != nullptr; ++kernel) {
    names.emplace_back(kernel->name);
  }
  return names;
}

std::string Shaders::source(const std::string& name) const {
  if (const auto found = added_.find(name); found != added_.end()) {
    return found->second;
  }
  if (!override_folder_.empty()) {
    std::ifstream file(override_folder_ + "/" + name + ".wgsl", std::ios::binary);
    if (file) {
      return {std::istreambuf_iterator<char>(file), {}};
    }
  }
  for (const EmbeddedKernel* kernel = kEmbeddedKernels; kernel->name != nullptr; ++kernel) {
    if (name == kernel->name) {
      return kernel->source;
    }
  }
  fail(ErrorKind::NotFound, Subject::Device, "There is no kernel {}.wgsl.", name);
}

ShaderText Shaders::resolve(const KernelId& kernel) const {
  Resolver resolver(*this, kernel);
  const auto has = [&](std::string_view name) {
    return std::find(kernel.defines.begin(), kernel.defines.end(), name) != kernel.defines.end();
  };
  if (has("F16")) {
    resolver.add_header("enable f16;");
  }
  if (is_dawn_ && has("SUBGROUPS")) {
    resolver.add_header("enable subgroups;");
  }
  if (is_dawn_ && has("SUBGROUP_MATRIX")) {
    resolver.add_header("enable chromium_experimental_subgroup_matrix;");
  }
  resolver.include(kernel.name, 0);
  return resolver.take();
}

std::string map_lines(const std::string& message, const ShaderText& shader) {
  // Dawn writes ":3:16 error", wgpu-native "wgsl:3:16" and in its excerpt "3 |".
  static const std::regex kPosition("(wgsl)?:([0-9]+):([0-9]+)");
  std::string out;
  auto at = message.cbegin();
  for (std::sregex_iterator it(message.begin(), message.end(), kPosition), end; it != end; ++it) {
    const std::smatch& match = *it;
    out.append(at, match[0].first);
    at = match[0].second;
    const size_t line = match[2].length() < 7 ? std::stoul(match[2].str()) : 0;
    if (line == 0 || line > shader.lines.size()) {
      out += match.str();
    } else {
      const ShaderText::Line& place = shader.lines[line - 1];
      out += fmt::format("{}:{}:{}", place.file, place.number, match[3].str());
    }
  }
  out.append(at, message.cend());
  return out;
}

}  // namespace candela::wgpu
