#include "base/shared_library.h"

#include <dlfcn.h>

#include <filesystem>
#include <system_error>

namespace candela {

namespace fs = std::filesystem;

namespace {

std::vector<fs::path> library_folders(std::string_view part) {
  std::vector<fs::path> folders;
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  if (error) {
    return folders;
  }
  folders.push_back(program.parent_path());
  folders.push_back(program.parent_path().parent_path() / "lib");
  const fs::path fetched = fs::path(".deps") / part / "lib";
  for (fs::path at = program.parent_path(); !at.empty(); at = at.parent_path()) {
    if (fs::is_directory(at / fetched, error)) {
      folders.push_back(at / fetched);
      break;
    }
    if (at == at.root_path()) {
      break;
    }
  }
  return folders;
}

}  // namespace

std::vector<std::string> find_libraries(std::string_view part, std::span<const char* const> names) {
  std::vector<std::string> found;
  for (const fs::path& folder : library_folders(part)) {
    for (const char* name : names) {
      std::error_code error;
      if (fs::exists(folder / name, error)) {
        found.push_back((folder / name).string());
        break;
      }
    }
  }
  return found;
}

void* open_shared_library(const std::string& path, std::string& reason) {
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* words = dlerror();
    reason = words != nullptr ? words : "no reason given";
  }
  return library;
}

void* find_symbol(void* library, const char* name) {
  return dlsym(library, name);
}

}  // namespace candela
