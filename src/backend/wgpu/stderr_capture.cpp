#include "backend/wgpu/stderr_capture.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace candela::wgpu {

StderrCapture::StderrCapture() {
  // An unnamed file instead of a pipe: nobody reads while the library writes.
  char name[] = "/tmp/candela-stderr-XXXXXX";
  file_ = ::mkstemp(name);
  if (file_ < 0) {
    return;
  }
  ::unlink(name);
  std::fflush(stderr);
  saved_ = ::dup(STDERR_FILENO);
  if (saved_ >= 0) {
    ::dup2(file_, STDERR_FILENO);
  }
}

StderrCapture::~StderrCapture() {
  restore();
  if (file_ >= 0) {
    ::close(file_);
  }
}

void StderrCapture::restore() {
  if (saved_ >= 0) {
    std::fflush(stderr);
    ::dup2(saved_, STDERR_FILENO);
    ::close(saved_);
    saved_ = -1;
  }
}

std::string StderrCapture::finish() {
  restore();
  std::string text;
  char piece[1024];
  if (file_ >= 0 && ::lseek(file_, 0, SEEK_SET) == 0) {
    for (ssize_t got; (got = ::read(file_, piece, sizeof piece)) > 0;) {
      text.append(piece, static_cast<size_t>(got));
    }
  }
  for (char& c : text) {
    c = c == '\n' ? ' ' : c;
  }
  return text;
}

}  // namespace candela::wgpu
