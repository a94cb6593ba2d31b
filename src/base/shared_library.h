#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace candela {

/// Paths of a library that is opened at run time: the first of `names` in each folder where it may
/// lie, which are the program's own, ../lib, and .deps/PART/lib of the nearest folder above that
/// has one.
std::vector<std::string> find_libraries(std::string_view part, std::span<const char* const> names);

/// Opens the library at `path` for the life of the process: what it starts or registers is beyond
/// our control, so it is never closed. Null, with the loader's words in `reason`, if it cannot be.
void* open_shared_library(const std::string& path, std::string& reason);

/// A function of an open library or of those it depends on; null if there is none of that name.
void* find_symbol(void* library, const char* name);

/// Sets `function` to the one of that name; null if there is none.
template <typename Function>
void resolve(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(find_symbol(library, name));
}

}  // namespace candela
