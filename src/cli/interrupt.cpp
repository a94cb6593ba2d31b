#include "cli/interrupt.h"

#include <atomic>
#include <csignal>
#include <cstdlib>

#include "cli/exit_code.h"

namespace candela::cli {

namespace {

/// Signals have no other way to hand something over than a static; kept inside this function.
std::atomic<int>& last_signal() {
  static std::atomic<int> signal{0};
  return signal;
}

void on_signal(int signal) {
  if (last_signal().exchange(signal) == SIGINT && signal == SIGINT) {
    std::_Exit(kExitInterrupted);
  }
}

}  // namespace

void catch_signals() {
  last_signal() = 0;
  std::signal(SIGINT, on_signal);
  std::signal(SIGTERM, on_signal);
  std::signal(SIGPIPE, SIG_IGN);
}

bool interrupted() { return last_signal() != 0; }

void reset_interrupt() { last_signal() = 0; }

int interrupt_exit_code() {
  return last_signal() == SIGTERM ? kExitTerminated : kExitInterrupted;
}

}  // namespace candela::cli
