#pragma once

#include <string>

namespace candela::wgpu {

/// Takes what is written to standard error while it lives. Dawn tells only there why it refuses an
/// adapter, and prints warnings about drivers that no user can act on.
class StderrCapture {
 public:
  StderrCapture();
  ~StderrCapture();
  StderrCapture(const StderrCapture&) = delete;
  StderrCapture& operator=(const StderrCapture&) = delete;

  /// Ends the capture and returns the text, on one line.
  std::string finish();

 private:
  void restore();

  int saved_ = -1;
  int file_ = -1;
};

}  // namespace candela::wgpu
