#pragma once

#include <simdjson.h>

#include <string>

#include "backend/storage.h"
#include "base/error.h"

namespace candela {

/// JSON of a model file with a bounded depth; the parser must outlive the element.
/// @throws CorruptData naming `what` ("The header", "The index") and `file`.
inline simdjson::dom::element parse_json(simdjson::dom::parser& parser,
                                         HostPiece text,
                                         size_t max_depth,
                                         std::string_view what,
                                         std::string_view file) {
  const auto bad = [&](simdjson::error_code code) {
    fail(ErrorKind::CorruptData, Subject::Model, "{} of {} is not valid JSON: {}", what, file,
         simdjson::error_message(code));
  };
  if (const auto code = parser.allocate(text.size() + 1, max_depth); code) {
    bad(code);
  }
  simdjson::dom::element root;
  const auto* chars = reinterpret_cast<const char*>(text.data());
  if (const auto code = parser.parse(simdjson::padded_string(chars, text.size())).get(root); code) {
    bad(code);
  }
  return root;
}

}  // namespace candela
