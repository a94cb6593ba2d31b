#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace candela {

/// Where a library that is opened at run time may lie: beside the program, in ../lib, and in
/// .deps/PART/lib of the nearest folder above the program that has one.
std::vector<std::filesystem::path> library_folders(std::string_view part);

/// The path of the first of `names` in each folder of `library_folders` that holds one.
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
