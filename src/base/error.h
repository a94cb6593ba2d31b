#pragma once

#include <fmt/format.h>

#include <exception>
#include <string>
#include <string_view>
#include <utility>

namespace candela {

/// What went wrong. Together with `Subject` it decides what a caller does: the exit code of the
/// program, later the HTTP status. Everything finer belongs into the text.
enum class ErrorKind {
  InvalidArgument,
  Unsupported,
  NotFound,
  CorruptData,
  Io,
  OutOfMemory,
  Unavailable,
  Cancelled,
  Internal,
};

/// Whose problem it is: the model's files, the user's input, the device, the command line, ...
enum class Subject { Model, Input, Device, Usage, Network };

/// The one exception type of candela.
///
/// `what()` is the message, one full sentence in the present tense, followed by one line
/// " - While ..." for each context added while unwinding.
class Error : public std::exception {
 public:
  Error(ErrorKind kind, Subject subject, std::string message)
      : kind_(kind), subject_(subject), message_(std::move(message)) {}

  ErrorKind kind() const noexcept { return kind_; }
  Subject subject() const noexcept { return subject_; }
  const char* what() const noexcept override { return message_.c_str(); }

  /// Adds a line " - While `doing`".
  void add_context(std::string_view doing) {
    message_ += "\n - While ";
    message_ += doing;
  }

 private:
  ErrorKind kind_;
  Subject subject_;
  std::string message_;
};

/// Throws an Error whose message is made by fmt.
template <typename... Args>
[[noreturn]] void fail(ErrorKind kind,
                       Subject subject,
                       fmt::format_string<Args...> text,
                       Args&&... args) {
  throw Error(kind, subject, fmt::format(text, std::forward<Args>(args)...));
}

/// Runs `body` and adds "While `doing()`" to any Error that leaves it. `doing` is a function so
/// that the text costs nothing when all goes well.
template <typename Doing, typename Body>
decltype(auto) with_context(Doing&& doing, Body&& body) {
  try {
    return std::forward<Body>(body)();
  } catch (Error& error) {
    error.add_context(doing());
    throw;
  }
}

}  // namespace candela
