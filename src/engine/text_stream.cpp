#include "engine/text_stream.h"

#include <algorithm>

namespace candela::engine {

std::string TextStream::release(const std::string& more) {
  if (stopped_) {
    return "";
  }
  held_ += more;
  size_t end = held_.size();
  for (const std::string& stop : stops_) {
    if (const size_t at = held_.find(stop); at != std::string::npos) {
      end = std::min(end, at);
      stopped_ = true;
    }
  }
  if (!stopped_) {
    // Hold back the longest end of the text that begins a stop string.
    for (const std::string& stop : stops_) {
      for (size_t length = std::min(stop.size() - 1, held_.size()); length > 0; --length) {
        if (held_.ends_with(std::string_view(stop).substr(0, length))) {
          end = std::min(end, held_.size() - length);
          break;
        }
      }
    }
  }
  std::string out = held_.substr(0, end);
  held_.erase(0, end);
  return out;
}

std::string TextStream::finish() {
  std::string out = release(decoder_.finish());
  if (!stopped_) {
    out += held_;
  }
  held_.clear();
  return out;
}

}  // namespace candela::engine
