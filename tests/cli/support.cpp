#include "cli/support.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <fstream>
#include <iterator>
#include <sstream>
#include <stdexcept>

namespace candela::test {

namespace fs = std::filesystem;

namespace {

std::array<int, 2> make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    throw std::runtime_error("pipe2 fails");
  }
  return ends;
}

void close_end(int& end) {
  if (end >= 0) {
    ::close(end);
    end = -1;
  }
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (std::string& text : texts) {
    out.push_back(text.data());
  }
  out.push_back(nullptr);
  return out;
}

/// Without what would change the defaults of flags.
std::vector<std::string> environment_with(const Environment& more) {
  std::vector<std::string> all;
  for (char** entry = ::environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    if (!text.starts_with("CANDELA_") || text.starts_with("CANDELA_WEBGPU_LIB=")) {
      all.push_back(text);
    }
  }
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

Program::Program(const Arguments& arguments,
                 const Environment& environment,
                 const std::string& input_file) {
  std::signal(SIGPIPE, SIG_IGN);  // a program that leaves early must not end the test
  const auto in = make_pipe();
  const auto out = make_pipe();
  const auto err = make_pipe();
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  if (input_file.empty()) {
    posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
  } else {
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, input_file.c_str(), O_RDONLY, 0);
  }
  posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, err[1], STDERR_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t defaults;
  sigemptyset(&defaults);
  sigaddset(&defaults, SIGPIPE);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
  std::vector<std::string> words{CANDELA_PROGRAM};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<std::string> variables = environment_with(environment);
  const int failed = ::posix_spawn(&pid_, CANDELA_PROGRAM, &actions, &attributes,
                                   pointers(words).data(), pointers(variables).data());
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  ::close(in[0]);
  ::close(out[1]);
  ::close(err[1]);
  in_ = in[1];
  out_ = out[0];
  err_ = err[0];
  if (failed != 0) {
    throw std::runtime_error("posix_spawn fails: " CANDELA_PROGRAM);
  }
}

Program::~Program() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  close_input();
  close_end(out_);
  close_end(err_);
}

void Program::write(std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = ::write(in_, text.data(), text.size());
    if (count <= 0) {
      return;
    }
    text.remove_prefix(static_cast<size_t>(count));
  }
}

void Program::close_input() {
  close_end(in_);
}

void Program::close_output() {
  close_end(out_);
}

void Program::signal(int number) const {
  ::kill(pid_, number);
}

bool Program::read_some(int timeout_ms) {
  std::array<pollfd, 2> ends{pollfd{out_, POLLIN, 0}, pollfd{err_, POLLIN, 0}};
  if (out_ < 0 && err_ < 0) {
    return false;
  }
  ::poll(ends.data(), ends.size(), timeout_ms);
  std::array<char, 65536> buffer{};
  for (size_t i = 0; i < ends.size(); ++i) {
    if (ends[i].fd < 0 || ends[i].revents == 0) {
      continue;
    }
    const ssize_t count = ::read(ends[i].fd, buffer.data(), buffer.size());
    if (count > 0) {
      (i == 0 ? result_.out : result_.err).append(buffer.data(), static_cast<size_t>(count));
    } else {
      close_end(i == 0 ? out_ : err_);
    }
  }
  return true;
}

void Program::wait_for_output(std::string_view part) {
  const double end = now() + 20.0;
  while (result_.out.find(part) == std::string::npos) {
    if (now() > end || !read_some(100)) {
      ADD_FAILURE() << "'" << part << "' does not come; stdout: " << result_.out
                    << "; stderr: " << result_.err;
      return;
    }
  }
}

Result Program::finish() {
  const double end = now() + 30.0;
  while (read_some(100)) {
    if (now() > end) {
      ADD_FAILURE() << "the program does not end; stderr: " << result_.err;
      ::kill(pid_, SIGKILL);
      break;
    }
  }
  int status = 0;
  ::waitpid(pid_, &status, 0);
  pid_ = -1;
  result_.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result_;
}

Result candela(const Arguments& arguments, std::string_view input, const Environment& environment) {
  // From a file, so that neither side waits for the other.
  const TempFolder folder;
  folder.write("input", input);
  return Program(arguments, environment, folder / "input").finish();
}

TempFolder::TempFolder() {
  std::string name = (fs::temp_directory_path() / "candela-cli-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) {
    throw std::runtime_error("mkdtemp fails");
  }
  path_ = name;
}

TempFolder::~TempFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

void TempFolder::write(const std::string& name, std::string_view text) const {
  std::ofstream(path_ / name, std::ios::binary) << text;
}

QwenFolder::QwenFolder() {
  for (const auto& entry : fs::directory_iterator(kQwen)) {
    fs::copy_file(entry.path(), path() / entry.path().filename());
    fs::permissions(path() / entry.path().filename(), fs::perms::owner_write,
                    fs::perm_options::add);
  }
}

std::string QwenFolder::text(const std::string& name) const {
  return read_text(path() / name);
}

std::string read_text(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    throw std::runtime_error("cannot read " + path.string());
  }
  return {std::istreambuf_iterator<char>(file), {}};
}

nlohmann::ordered_json golden_json(const std::string& name) {
  return nlohmann::ordered_json::parse(read_text(fs::path(CANDELA_GOLDEN_DIR) / name));
}

void expect_error(const Result& result, int code, std::string_view part) {
  EXPECT_EQ(result.code, code) << result.err;
  EXPECT_EQ(result.out, "");
  EXPECT_NE(result.err.find(part), std::string::npos)
      << "'" << part << "' is not in: " << result.err;
  std::istringstream lines(result.err);
  std::string line;
  ASSERT_TRUE(std::getline(lines, line)) << "stderr is empty";
  EXPECT_TRUE(line.starts_with("error: ")) << result.err;
  EXPECT_LT(line.size(), 600u) << result.err;
  while (std::getline(lines, line)) {
    EXPECT_TRUE(line.starts_with(" - While ")) << result.err;
  }
}

}  // namespace candela::test
