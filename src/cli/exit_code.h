#pragma once

#include "base/error.h"

namespace candela::cli {

/// Exit codes of the program. 0 is success; `candela --help` lists them.
inline constexpr int kExitFailure = 1;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitModelNotFound = 3;
inline constexpr int kExitModelCorrupt = 4;
inline constexpr int kExitNoDevice = 5;
inline constexpr int kExitOutOfMemory = 6;
inline constexpr int kExitBadInput = 7;
inline constexpr int kExitNetwork = 8;
inline constexpr int kExitThreshold = 10;  ///< verify, doctor or bench found a difference
inline constexpr int kExitInterrupted = 130;
inline constexpr int kExitTerminated = 143;

/// The one place where kind and subject become an exit code.
int exit_code(const Error& error);

/// For the end of `candela --help`.
const char* exit_code_help();

}  // namespace candela::cli
