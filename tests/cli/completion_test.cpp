// Completion scripts: bash's is run, the others are looked at.
#include <cstdio>
#include <memory>

#include "cli/support.h"

namespace candela::test {
namespace {

using testing::HasSubstr;

class Completion : public testing::Test {
 protected:
  /// What bash would offer for the last of `words`, which follow the program's name.
  std::string offer(const Arguments& words) const {
    folder_.write("script", candela({"completion", "bash"}).out);
    std::string line = "candela";
    for (const std::string& word : words) {
      line += " '" + word + "'";
    }
    folder_.write("ask", "compopt() { echo \"compopt $*\"; }\n. '" + (folder_ / "script") +
                             "'\nCOMP_WORDS=(" + line +
                             ") COMP_CWORD=" + std::to_string(words.size()) +
                             "\n_candela\necho \"${COMPREPLY[@]}\"\n");
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> bash(
        ::popen(("bash -u '" + (folder_ / "ask") + "' 2>&1").c_str(), "r"), ::pclose);
    std::string out;
    for (int c = 0; (c = std::fgetc(bash.get())) != EOF;) {
      out += static_cast<char>(c);
    }
    return out;
  }
  TempFolder folder_;
};

TEST_F(Completion, BashOffersCommandsFlagsAndValues) {
  EXPECT_EQ(offer({"tok"}), "tokenize\n");
  EXPECT_EQ(offer({"run", "--devi"}), "compopt -o default\n--device\n");
  EXPECT_EQ(offer({"run", "--device", ""}), "auto cpu wgpu\n");
  EXPECT_EQ(offer({"run", "--device", "w"}), "wgpu\n");
  EXPECT_EQ(offer({"chat", "--webgpu", "d"}), "compopt -o default\ndawn\n");
  EXPECT_EQ(offer({"run", "-n", ""}), "\n") << "a number";
  EXPECT_EQ(offer({"run", ""}), "compopt -o default\n\n") << "a folder";
  EXPECT_EQ(offer({"completion", "f"}), "fish\n");
  EXPECT_EQ(offer({"nonsense", "-"}), "\n");
}

TEST_F(Completion, EveryShellKnowsEveryCommandAndItsFlags) {
  const std::string help = candela({"--help"}).out;
  for (const char* shell : {"bash", "zsh", "fish"}) {
    const Result script = candela({"completion", shell});
    EXPECT_EQ(script.code, 0) << script.err;
    for (const char* command : {"run", "chat", "info", "verify", "tokenize", "devices", "doctor",
                                "bench", "trace", "completion"}) {
      EXPECT_THAT(help, HasSubstr(command));
      EXPECT_THAT(script.out, HasSubstr(command)) << shell;
    }
    for (const char* flag : {"temperature", "synthetic", "parse-special", "jsonl", "replay"}) {
      EXPECT_THAT(script.out, HasSubstr(flag)) << shell;
    }
  }
  EXPECT_THAT(candela({"completion", "zsh"}).out,
              HasSubstr("'(-c --ctx-size)'{-c,--ctx-size}'[positions at most; 0\\: the model'\\''s "
                        "own limit]:N:'"));
  EXPECT_THAT(candela({"completion", "fish"}).out,
              HasSubstr("-l device -x -a 'auto cpu wgpu' -d 'auto, cpu,"));
  expect_error(candela({"completion", "tcsh"}), 2, "tcsh");
}

}  // namespace
}  // namespace candela::test
