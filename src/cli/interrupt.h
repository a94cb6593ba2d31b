#pragma once

namespace candela::cli {

/// From now on SIGINT and SIGTERM set a flag instead of ending the program, and a closed pipe is a
/// failed write instead of SIGPIPE. A second signal before a reset ends it at once. A SIGBUS in a
/// mapped file (it was shortened, or its disk fails) ends the program with one line that names it.
void catch_signals();
/// Whether a signal came since the last reset.
bool interrupted();
/// Whether that signal was SIGTERM, which ends also what SIGINT only stops.
bool terminated();
/// Throws Cancelled after a signal.
void throw_if_interrupted();
void reset_interrupt();
/// 130 for SIGINT, 143 for SIGTERM.
int interrupt_exit_code();

}  // namespace candela::cli
