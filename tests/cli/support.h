#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/types.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace candela::test {

using Arguments = std::vector<std::string>;
/// "NAME=value", added to the environment of the test.
using Environment = std::vector<std::string>;

/// What the program left behind. `code` is its exit code, or 128 + the signal that ended it.
struct Result {
  int code = -1;
  std::string out, err;
};

struct OnTerminal {};

/// The program in another process, for tests that send signals or talk to it.
class Program {
 public:
  /// @param input_file  its standard input; empty: a pipe, see write()
  explicit Program(const Arguments& arguments,
                   const Environment& environment = {},
                   const std::string& input_file = "");
  /// On a terminal of its own, where all it writes arrives as stdout. write() types, so "\x03" is
  /// Ctrl+C and "\x04" Ctrl+D.
  Program(OnTerminal, const Arguments& arguments, const Environment& environment = {});
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  /// Writes to its standard input.
  void write(std::string_view text);
  void close_input();
  /// Waits until `part` stands in what it has written to stdout, behind what was waited for before;
  /// fails the test after 20 s.
  void wait_for_output(std::string_view part);
  /// Until the program reads single keys from its terminal: before, lines are echoed and Ctrl+D may
  /// be lost.
  void wait_for_raw_mode();
  void signal(int number) const;
  /// Stops reading its stdout, as `head` does.
  void close_output();
  /// Reads the rest and waits for its end; kills it after 30 s.
  Result finish();

 private:
  struct Spawn;

  void start(Spawn& spawn, const Arguments& arguments, const Environment& environment);
  bool read_some(int timeout_ms);

  pid_t pid_ = -1;
  int in_ = -1, out_ = -1, err_ = -1;
  size_t seen_ = 0;  ///< of result_.out
  Result result_;
};

/// Runs `candela arguments...` with `input` on standard input.
Result candela(const Arguments& arguments,
               std::string_view input = "",
               const Environment& environment = {});

/// A folder of the test, removed with the object.
class TempFolder {
 public:
  TempFolder();
  ~TempFolder();
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }
  void write(const std::string& name, std::string_view text) const;

 private:
  std::filesystem::path path_;
};

/// A copy of the small plain Qwen3 checkpoint (one shard), to be damaged.
class QwenFolder : public TempFolder {
 public:
  QwenFolder();
  /// Changes a JSON file of the folder.
  template <typename Edit>
  void edit(const std::string& name, Edit change) const {
    nlohmann::ordered_json value = nlohmann::ordered_json::parse(text(name));
    change(value);
    write(name, value.dump());
  }
  std::string text(const std::string& name) const;
};

std::string read_text(const std::filesystem::path& path);
/// A golden file as JSON; fails the test if it does not exist.
nlohmann::ordered_json golden_json(const std::string& name);

inline const std::string kQwen = std::string(CANDELA_GOLDEN_DIR) + "/tiny_qwen3";
inline const std::string kOmni = CANDELA_TINY_OMNI_DIR;

/// One line of "error: ...", perhaps followed by " - While ..." lines, and nothing else, that holds
/// `part`; the exit code is `code` and stdout is empty.
void expect_error(const Result& result, int code, std::string_view part);

/// `run` on the folder is such an error.
void expect_refused(const TempFolder& folder,
                    int code,
                    std::string_view file,
                    std::string_view part = "");

/// The eight bytes of a number as they lie in files.
std::string little(uint64_t value);

}  // namespace candela::test
