#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

namespace candela::cli {

/// Whether the stream is a terminal and may get colours and bars (NO_COLOR switches them off).
bool is_terminal(std::FILE* stream);
bool use_color(std::FILE* stream);

/// The text without C0 and C1 control characters except newline and tab, so that a model cannot
/// drive a terminal.
std::string printable(std::string_view text);

/// Writes to stdout at once. @return false if the reader has gone
bool write_out(std::string_view text);
/// One line on stderr.
void note(std::string_view line);
/// "error: ..." on stderr, without control characters that a file's name may hold.
void note_error(std::string_view text);

/// Progress on stderr: a bar on a terminal. Elsewhere nothing for the first two seconds, then a
/// line whenever ten percent or five seconds have passed.
class ProgressBar {
 public:
  /// Counts bytes, or what `unit` names.
  explicit ProgressBar(std::string what, bool quiet, std::string unit = "");
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  void update(uint64_t done, uint64_t total);

 private:
  std::string what_, unit_;
  bool quiet_;
  bool terminal_;
  int last_percent_ = -1;
  double start_;
  double last_line_;

  bool due(int percent, double now) const;
  std::string counted(uint64_t count) const;
};

}  // namespace candela::cli
