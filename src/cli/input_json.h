#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace candela::cli {

/// JSON that a person or another program gives. Depth is limited, because copying and destroying a
/// value recurse. `name` stands for the text in messages: "Line 3", a path.
/// @throws CorruptData about the input
nlohmann::ordered_json parse_input_json(const std::string& text, const std::string& name);

/// The same from a file that must hold a list of `of`.
nlohmann::ordered_json read_input_list(const std::string& path, const char* of);

}  // namespace candela::cli
