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
  if (last_signal().exchange(signal) != 0) {
    std::_Exit(signal == SIGTERM ? kExitTerminated : kExitInterrupted);
  }
}

}  // namespace

void catch_signals() {
  last_signal() = 0;
  // Without SA_RESTART, so that a read from a person or a pipe ends as well.
  struct sigaction action = {};
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
}

bool interrupted() {
  return last_signal() != 0;
}

bool terminated() {
  return last_signal() == SIGTERM;
}

void throw_if_interrupted() {
  if (interrupted()) {
    fail(ErrorKind::Cancelled, Subject::Usage, "Interrupted.");
  }
}

void reset_interrupt() {
  last_signal() = 0;
}

int interrupt_exit_code() {
  return terminated() ? kExitTerminated : kExitInterrupted;
}

}  // namespace candela::cli
