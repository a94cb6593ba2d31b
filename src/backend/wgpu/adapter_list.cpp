#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <sstream>
#include <string>
#include <system_error>

#include "backend/wgpu/adapter.h"
#include "base/error.h"

namespace candela::wgpu {
namespace {

/// Strings of an adapter as they travel through the pipe: one field a line.
std::array<std::string*, 8> texts(AdapterInfo& info) {
  return {&info.library,      &info.library_version, &info.name,    &info.vendor,
          &info.architecture, &info.driver,          &info.backend, &info.refusal};
}

std::string one_line(std::string text) {
  for (char& c : text) {
    c = c == '\n' || c == '\r' ? ' ' : c;
  }
  return text;
}

std::string write_out(std::vector<AdapterInfo> adapters) {
  std::string out;
  for (AdapterInfo& info : adapters) {
    const Limits& limits = info.limits;
    out += fmt::format("{} {} {} {} {} {} {} {} {} {} {} {} {}\n", info.index,
                       info.software ? 1 : 0, limits.max_binding_bytes, limits.max_buffer_bytes,
                       limits.max_workgroup_bytes, limits.max_workgroup_threads,
                       limits.subgroup_min, limits.subgroup_max, limits.shader_f16 ? 1 : 0,
                       limits.subgroup_matrix ? 1 : 0, limits.timestamps ? 1 : 0,
                       limits.shares_memory ? 1 : 0, limits.binds_host_memory ? 1 : 0);
    for (const std::string* text : texts(info)) {
      out += one_line(*text) + '\n';
    }
  }
  return out;
}

std::vector<AdapterInfo> read_in(const std::string& text) {
  std::istringstream lines(text);
  std::vector<AdapterInfo> adapters;
  std::string line;
  while (std::getline(lines, line)) {
    std::istringstream numbers(line);
    AdapterInfo info;
    Limits& limits = info.limits;
    numbers >> info.index >> info.software >> limits.max_binding_bytes >> limits.max_buffer_bytes >>
        limits.max_workgroup_bytes >> limits.max_workgroup_threads >> limits.subgroup_min >>
        limits.subgroup_max >> limits.shader_f16 >> limits.subgroup_matrix >> limits.timestamps >>
        limits.shares_memory >> limits.binds_host_memory;
    limits.software = info.software;
    for (std::string* field : texts(info)) {
      std::getline(lines, *field);
    }
    adapters.push_back(std::move(info));
  }
  return adapters;
}

AdapterInfo refused(const std::string& path, const std::string& why) {
  AdapterInfo info;
  info.library = path;
  info.refusal = why;
  return info;
}

std::vector<AdapterInfo> list_here(const std::string& path, bool checked) {
  try {
    const Api& api = open_library(path);
    const Handle<WGPUInstance> instance = make_instance(api, checked);
    std::string reason;
    std::vector<AdapterInfo> infos;
    for (FoundAdapter& found : find_adapters(api, instance.get(), checked, reason)) {
      infos.push_back(found.info);
    }
    if (infos.empty()) {
      AdapterInfo none = refused(api.name(), reason);
      none.library_version = api.version;
      infos.push_back(none);
    }
    return infos;
  } catch (const Error& error) {
    return {refused(path, error.what())};
  }
}

void write_all(int to, const std::string& text) {
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t wrote = ::write(to, text.data() + done, text.size() - done);
    if (wrote < 0 && errno != EINTR) {
      return;
    }
    done += wrote > 0 ? static_cast<size_t>(wrote) : 0;
  }
}

std::string read_all(int from) {
  std::string text;
  char piece[4096];
  for (;;) {
    const ssize_t got = ::read(from, piece, sizeof piece);
    if (got > 0) {
      text.append(piece, static_cast<size_t>(got));
    } else if (got == 0 || errno != EINTR) {
      return text;
    }
  }
}

}  // namespace

std::vector<AdapterInfo> list_adapters(const std::string& library_path, bool checked) {
  const Api* claimed = claimed_library();
  std::error_code error;
  if (claimed != nullptr && std::filesystem::equivalent(claimed->path, library_path, error)) {
    return list_here(library_path, checked);
  }
  int ends[2];
  if (::pipe(ends) != 0) {
    fail(ErrorKind::Unavailable, Subject::Device, "No pipe can be made to list adapters: {}.",
         std::strerror(errno));
  }
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(ends[0]);
    write_all(ends[1], write_out(list_here(library_path, checked)));
    ::_exit(0);  // no destructors: the libraries' threads do not exist in the parent either
  }
  ::close(ends[1]);
  const std::string text = child > 0 ? read_all(ends[0]) : std::string();
  ::close(ends[0]);
  int status = 0;
  if (child > 0) {
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
  }
  std::vector<AdapterInfo> adapters = read_in(text);
  if (adapters.empty()) {
    adapters.push_back(
        refused(library_path, "The library ends the process while it lists adapters."));
  }
  return adapters;
}

}  // namespace candela::wgpu
