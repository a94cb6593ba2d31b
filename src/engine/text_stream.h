#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "tokenizer/stream_decoder.h"

namespace candela::engine {

/// Text of one answer as its tokens arrive: whole characters only, and nothing that could still
/// turn out to be the beginning of a stop string.
class TextStream {
 public:
  /// @throws InvalidArgument if a stop string is empty
  TextStream(const Tokenizer& tokenizer, std::vector<std::string> stop_strings)
      : decoder_(tokenizer, SkipSpecial::Yes), stops_(std::move(stop_strings)) {
    for (const std::string& stop : stops_) {
      if (stop.empty()) {
        fail(ErrorKind::InvalidArgument, Subject::Usage,
             "A stop string is empty, which would end every answer at once; leave it out.");
      }
    }
  }

  /// The text that is certain with this token.
  std::string push(uint32_t id) { return release(decoder_.push(id)); }
  /// What was held back, at the end of the answer.
  std::string finish();
  /// Whether a stop string was found; nothing more comes then.
  bool stopped() const { return stopped_; }

 private:
  std::string release(const std::string& more);

  StreamDecoder decoder_;
  std::vector<std::string> stops_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace candela::engine
