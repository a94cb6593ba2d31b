#include "cli/support.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstring>
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

/// Without what would change the defaults of flags; of two with one name the first counts.
std::vector<std::string> environment_with(const Environment& more) {
  std::vector<std::string> all = more;
  for (char** entry = ::environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    if (!text.starts_with("CANDELA_") || text.starts_with("CANDELA_WEBGPU_LIB=")) {
      all.push_back(text);
    }
  }
  return all;
}

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

/// What posix_spawn is told about the new process.
struct Program::Spawn {
  Spawn() {
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    sigset_t defaults;
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
  }
  ~Spawn() {
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
  }
  Spawn(const Spawn&) = delete;
  Spawn& operator=(const Spawn&) = delete;

  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
};

void Program::start(Spawn& spawn, const Arguments& arguments, const Environment& environment) {
  std::signal(SIGPIPE, SIG_IGN);  // a program that leaves early must not end the test
  std::vector<std::string> words{CANDELA_PROGRAM};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<std::string> variables = environment_with(environment);
  if (::posix_spawn(&pid_, CANDELA_PROGRAM, &spawn.actions, &spawn.attributes,
                    pointers(words).data(), pointers(variables).data()) != 0) {
    throw std::runtime_error("posix_spawn fails: " CANDELA_PROGRAM);
  }
}

Program::Program(const Arguments& arguments,
                 const Environment& environment,
                 const std::string& input_file) {
  const auto in = make_pipe();
  const auto out = make_pipe();
  const auto err = make_pipe();
  in_ = in[1];
  out_ = out[0];
  err_ = err[0];
  Spawn spawn;
  if (input_file.empty()) {
    posix_spawn_file_actions_adddup2(&spawn.actions, in[0], STDIN_FILENO);
  } else {
    posix_spawn_file_actions_addopen(&spawn.actions, STDIN_FILENO, input_file.c_str(), O_RDONLY, 0);
  }
  posix_spawn_file_actions_adddup2(&spawn.actions, out[1], STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&spawn.actions, err[1], STDERR_FILENO);
  start(spawn, arguments, environment);
  ::close(in[0]);
  ::close(out[1]);
  ::close(err[1]);
}

Program::Program(OnTerminal, const Arguments& arguments, const Environment& environment) {
  out_ = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  const winsize size{.ws_row = 25, .ws_col = 80, .ws_xpixel = 0, .ws_ypixel = 0};
  std::array<char, 64> name{};
  if (::grantpt(out_) != 0 || ::unlockpt(out_) != 0 ||
      ::ptsname_r(out_, name.data(), name.size()) != 0 || ::ioctl(out_, TIOCSWINSZ, &size) != 0) {
    throw std::runtime_error("there is no pseudoterminal");
  }
  in_ = ::fcntl(out_, F_DUPFD_CLOEXEC, 0);
  Spawn spawn;
  // The first terminal that the leader of a session opens is where its Ctrl+C comes from.
  posix_spawnattr_setflags(&spawn.attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
  posix_spawn_file_actions_addopen(&spawn.actions, STDIN_FILENO, name.data(), O_RDWR, 0);
  posix_spawn_file_actions_adddup2(&spawn.actions, STDIN_FILENO, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&spawn.actions, STDIN_FILENO, STDERR_FILENO);
  start(spawn, arguments, environment);
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

void Program::wait_for_raw_mode() {
  const double end = now() + 20.0;
  termios state{};
  while (::tcgetattr(out_, &state) == 0 && (state.c_lflag & ICANON) != 0) {
    if (now() > end) {
      ADD_FAILURE() << "the program does not read keys; stdout: " << result_.out;
      return;
    }
    read_some(1);
  }
}

void Program::wait_for_output(std::string_view part) {
  const double end = now() + 20.0;
  size_t found = 0;
  while ((found = result_.out.find(part, seen_)) == std::string::npos) {
    if (now() > end || !read_some(100)) {
      ADD_FAILURE() << "'" << part << "' does not come; stdout: " << result_.out
                    << "; stderr: " << result_.err;
      return;
    }
  }
  seen_ = found + part.size();
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

void expect_refused(const TempFolder& folder,
                    int code,
                    std::string_view file,
                    std::string_view part) {
  const Result run =
      candela({"run", folder.path().string(), "hi", "--device", "cpu", "-n", "1", "-q"});
  expect_error(run, code, file);
  EXPECT_NE(run.err.find(part), std::string::npos) << "'" << part << "' is not in: " << run.err;
}

std::string little(uint64_t value) {
  std::string out(sizeof value, '\0');
  std::memcpy(out.data(), &value, sizeof value);
  return out;
}

}  // namespace candela::test
