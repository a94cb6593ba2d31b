#include "cli/input_json.h"

#include "base/error.h"
#include "cli/options.h"

namespace candela::cli {

using nlohmann::ordered_json;

ordered_json parse_input_json(const std::string& text, const std::string& name) {
  constexpr int kMaxDepth = 128;
  const auto limit_depth = [&](int depth, ordered_json::parse_event_t, ordered_json&) {
    if (depth > kMaxDepth) {
      fail(ErrorKind::CorruptData, Subject::Input, "{} is nested more than {} levels deep.", name,
           kMaxDepth);
    }
    return true;
  };
  try {
    return ordered_json::parse(text, limit_depth);
  } catch (const nlohmann::json::exception& error) {
    fail(ErrorKind::CorruptData, Subject::Input, "{} is not valid JSON: {}.", name, error.what());
  }
}

ordered_json read_input_list(const std::string& path, const char* of) {
  ordered_json parsed = parse_input_json(read_text_file(path), path);
  if (!parsed.is_array()) {
    fail(ErrorKind::CorruptData, Subject::Input, "{} is no JSON list of {}.", path, of);
  }
  return parsed;
}

}  // namespace candela::cli
