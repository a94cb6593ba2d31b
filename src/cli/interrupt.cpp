#include "cli/interrupt.h"

#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdlib>

#include "base/mapped_file.h"
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

void write_error(const char* text, bool only_printable) {
  for (; *text != '\0'; ++text) {
    const auto byte = static_cast<unsigned char>(*text);
    if (!only_printable || (byte >= 0x20 && byte != 0x7f)) {
      (void)!::write(STDERR_FILENO, text, 1);
    }
  }
}

/// Kernels read weights where the file is mapped. When its bytes go away meanwhile there is no
/// other way on than a clear end.
void on_bus_error(int signal, siginfo_t* info, void*) {
  MappedFile::Fault fault;
  if (!MappedFile::find_fault(info->si_addr, fault)) {
    std::signal(signal, SIG_DFL);  // not ours: it comes again, and ends the program as usual
    return;
  }
  write_error("\nerror: ", false);
  write_error(fault.path, true);
  write_error(fault.shortened
                  ? " has become shorter while it was in use; download it again, and let nothing "
                    "write to it while candela runs.\n"
                  : " cannot be read any more; the disk that it lies on fails or is gone.\n",
              false);
  std::_Exit(fault.shortened ? kExitModelCorrupt : kExitModelNotFound);
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
  struct sigaction bus = {};
  bus.sa_sigaction = on_bus_error;
  bus.sa_flags = SA_SIGINFO;
  sigemptyset(&bus.sa_mask);
  sigaction(SIGBUS, &bus, nullptr);
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
