#include "cli/exit_code.h"

#include "cli/interrupt.h"

namespace candela::cli {

int exit_code(const Error& error) {
  switch (error.kind()) {
    case ErrorKind::OutOfMemory:
      return kExitOutOfMemory;
    case ErrorKind::Cancelled:
      return interrupt_exit_code();
    case ErrorKind::Internal:
      return kExitFailure;
    default:
      break;
  }
  switch (error.subject()) {
    case Subject::Model:
      return error.kind() == ErrorKind::NotFound || error.kind() == ErrorKind::Io
                 ? kExitModelNotFound
                 : kExitModelCorrupt;
    case Subject::Input:
      return kExitBadInput;
    case Subject::Device:
      return kExitNoDevice;
    case Subject::Network:
      return kExitNetwork;
    case Subject::Usage:
      return kExitUsage;
  }
  return kExitFailure;
}

const char* exit_code_help() {
  return "Exit codes: 0 done, 1 failure, 2 wrong usage, 3 model not found or incomplete, 4 model\n"
         "corrupt or not supported, 5 no usable device, 6 not enough memory, 7 an input cannot be\n"
         "read, 8 network, 10 a check found a difference, 130 interrupted, 143 terminated.";
}

}  // namespace candela::cli
