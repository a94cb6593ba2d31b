#include "engine/find_model.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <vector>

#include "base/error.h"

namespace candela::engine {

namespace fs = std::filesystem;

namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

fs::path cache_root() {
  if (const std::string hub = environment("HF_HUB_CACHE"); !hub.empty()) {
    return hub;
  }
  if (const std::string home = environment("HF_HOME"); !home.empty()) {
    return fs::path(home) / "hub";
  }
  if (const std::string xdg = environment("XDG_CACHE_HOME"); !xdg.empty()) {
    return fs::path(xdg) / "huggingface" / "hub";
  }
  return fs::path(environment("HOME")) / ".cache" / "huggingface" / "hub";
}

/// "Org/Name": one slash, no other characters that would leave the cache folder.
bool is_repository(const std::string& name) {
  const auto allowed = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_' || c == '.';
  };
  const size_t slash = name.find('/');
  if (slash == std::string::npos || slash == 0 || slash + 1 == name.size()) {
    return false;
  }
  const std::string org = name.substr(0, slash);
  const std::string repository = name.substr(slash + 1);
  return std::ranges::all_of(org, allowed) && std::ranges::all_of(repository, allowed) &&
         !org.starts_with('.') && !repository.starts_with('.');
}

[[noreturn]] void not_found(const std::string& model, const std::string& why) {
  fail(ErrorKind::NotFound, Subject::Model, "{}: {}. Fetch it with: hf download {}", model, why,
       model.substr(0, model.find('@')));
}

std::string commit_of(const fs::path& folder,
                      const std::string& model,
                      const std::string& revision) {
  std::ifstream ref(folder / "refs" / (revision.empty() ? "main" : revision));
  std::string commit;
  if (ref >> commit) {
    if (commit.find('/') != std::string::npos || commit.starts_with('.')) {
      not_found(model, "the cache's ref names no snapshot");
    }
    return commit;
  }
  if (!revision.empty()) {
    return revision;  // perhaps a commit itself
  }
  std::vector<std::string> snapshots;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder / "snapshots", ignored)) {
    snapshots.push_back(entry.path().filename().string());
  }
  if (snapshots.size() != 1) {
    not_found(model,
              fmt::format("the cache has {} snapshots and no ref \"main\"", snapshots.size()));
  }
  return snapshots.front();
}

}  // namespace

std::string find_model(const std::string& model) {
  std::error_code ignored;
  if (fs::exists(model, ignored)) {
    return model;
  }
  const size_t at = model.find('@');
  const std::string name = model.substr(0, at);
  const std::string revision = at == std::string::npos ? "" : model.substr(at + 1);
  if (!is_repository(name) || revision.find("..") != std::string::npos ||
      revision.starts_with('/')) {
    fail(ErrorKind::NotFound, Subject::Model,
         "There is no model at {}; give a folder, a .gguf file or Org/Name of the Hugging Face "
         "cache.",
         model);
  }
  std::string folder_name = "models--" + name;
  folder_name.replace(folder_name.find('/'), 1, "--");
  const fs::path folder = cache_root() / folder_name;
  if (!fs::is_directory(folder, ignored)) {
    not_found(model, fmt::format("not in the cache {}", cache_root().string()));
  }
  const fs::path snapshot = folder / "snapshots" / commit_of(folder, model, revision);
  if (!fs::is_directory(snapshot, ignored)) {
    not_found(model, fmt::format("the cache has no snapshot {}", snapshot.filename().string()));
  }
  return snapshot.string();
}

}  // namespace candela::engine
