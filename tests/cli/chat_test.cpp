// Conversations through a pipe and on a terminal, and what signals and closed pipes do.
#include <csignal>

#include "cli/support.h"

namespace candela::test {
namespace {

using nlohmann::ordered_json;
using testing::HasSubstr;

Result chat(const std::string& input, const Arguments& more = {}) {
  Arguments all{"chat", kQwen, "--device", "cpu", "-n", "4", "-q"};
  all.insert(all.end(), more.begin(), more.end());
  return candela(all, input);
}

size_t lines_of(const std::string& text) {
  return static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
}

TEST(Chat, EveryLineIsATurn) {
  const Result result = chat("hello\nagain\n");
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(lines_of(result.out), 2u) << result.out;
  EXPECT_EQ(result.err, "");
  EXPECT_EQ(lines_of(chat("hello\n/bye\nagain\n").out), 1u);
}

TEST(Chat, FirstTurnEqualsRun) {
  EXPECT_EQ(chat("hello\n").out,
            candela({"run", kQwen, "hello", "--device", "cpu", "-n", "4", "-q"}).out);
}

TEST(Chat, SaveLoadUndoRegenerateClear) {
  const TempFolder folder;
  const std::string one = folder / "one.json";
  const std::string two = folder / "two.json";
  const Result result = chat("hello\nagain\n/regen\n/save " + one + "\n/undo\n/save " + two +
                             "\n/clear\n/load " + one + "\n/undo\nagain\n");
  EXPECT_EQ(result.code, 0) << result.err;
  const ordered_json all = ordered_json::parse(read_text(one));
  const ordered_json less = ordered_json::parse(read_text(two));
  ASSERT_EQ(all.size(), 4u);
  ASSERT_EQ(less.size(), 2u);
  EXPECT_EQ(all[2]["content"], "again");
  // The same conversation gives the same answer, however it came about.
  std::istringstream lines(result.out);
  std::vector<std::string> answers;
  for (std::string line; std::getline(lines, line);) {
    answers.push_back(line);
  }
  ASSERT_EQ(answers.size(), 4u);
  EXPECT_EQ(answers[1], answers[2]);
  EXPECT_EQ(answers[1], answers[3]);
  EXPECT_EQ(answers[1], all[3]["content"].get<std::string>());
}

TEST(Chat, SystemAndSettings) {
  const TempFolder folder;
  const std::string saved = folder / "saved.json";
  const Result result =
      chat("/system Be brief.\n/set max-tokens 2\n/set temp 0\nhello\n/save " + saved + "\n");
  EXPECT_EQ(result.code, 0) << result.err;
  const ordered_json messages = ordered_json::parse(read_text(saved));
  ASSERT_EQ(messages.size(), 3u);
  EXPECT_EQ(messages[0], (ordered_json{{"role", "system"}, {"content", "Be brief."}}));
}

TEST(Chat, ErrorsKeepTheConversationAlive) {
  const TempFolder folder;
  folder.write("bad.json", "{");
  folder.write("roles.json", "[3]");
  const Result result =
      chat("/nope\n/save\n/load\n/load /nowhere\n/load " + (folder / "bad.json") + "\n/load " +
           (folder / "roles.json") +
           "\n/save /nowhere/x\n/set\n/set nope 3\n/set top-p 7\n/set temp x\n/set help\n"
           "/regen\n/undo\n\xff\xfe\nhello\n");
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(lines_of(result.out), 1u) << result.out;
  EXPECT_EQ(result.out, chat("hello\n").out) << "nothing wrong stays in the conversation";
  for (const char* part : {"/nope", "/nowhere", "bad.json", "UTF-8", "top"}) {
    EXPECT_THAT(result.err, HasSubstr(part));
  }
}

TEST(Chat, ContextThatIsFullIsAnErrorOfTheTurn) {
  std::string words;
  for (int i = 0; i < 100; ++i) {
    words += "word ";
  }
  const Result result = chat(words + "\nhello\n", {"-c", "64"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(lines_of(result.out), 1u);
  EXPECT_THAT(result.err, HasSubstr("64 positions"));
}

TEST(Chat, SeveralLines) {
  const TempFolder folder;
  const std::string saved = folder / "saved.json";
  chat("\"\"\"first\nsecond\"\"\"\n/save " + saved + "\n");
  EXPECT_EQ(ordered_json::parse(read_text(saved))[0]["content"], "first\nsecond");
}

/// A run that goes on until it is stopped: no token ends it.
class LongRun : public testing::Test {
 protected:
  LongRun() {
    folder_.write("generation_config.json", "{}");
    folder_.edit("config.json", [](ordered_json& config) { config["eos_token_id"] = nullptr; });
  }
  Arguments arguments(const char* command) const {
    return {command, folder_.path().string(), "--device", "cpu", "-n", "30000", "-q"};
  }
  Arguments run() const {
    Arguments all = arguments("run");
    all.emplace_back("hello");
    return all;
  }
  QwenFolder folder_;
};

TEST_F(LongRun, InterruptKeepsTheTextAndEndsItsLine) {
  for (const auto& [number, code] : {std::pair{SIGINT, 130}, {SIGTERM, 143}}) {
    Program program(run());
    program.wait_for_output("e");
    program.signal(number);
    const Result result = program.finish();
    EXPECT_EQ(result.code, code) << result.err;
    EXPECT_EQ(result.out.back(), '\n');
    EXPECT_EQ(result.err, "");
  }
}

TEST_F(LongRun, ReaderThatLeavesEndsItQuietly) {
  Program program(run());
  program.wait_for_output("e");
  program.close_output();
  const Result result = program.finish();
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.err, "");
}

TEST_F(LongRun, InterruptStopsOnlyTheAnswerOfAChat) {
  Program program(arguments("chat"));
  program.write("hello\n");
  program.wait_for_output("e");
  program.signal(SIGINT);
  program.wait_for_output("\n");
  const std::string saved = folder_ / "saved.json";
  program.write("/set max-tokens 2\nagain\n/save " + saved + "\n");
  program.close_input();
  const Result result = program.finish();
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(ordered_json::parse(read_text(saved)).size(), 4u);
}

TEST_F(LongRun, TerminateEndsAChatThatWaits) {
  Program program(arguments("chat"));
  program.write("/set max-tokens 2\nhello\n");
  program.wait_for_output("\n");
  program.signal(SIGTERM);
  EXPECT_EQ(program.finish().code, 143);
}

/// `chat` as a person has it: keys go in, and prompt, echo, notes and answers come out.
class Terminal : public LongRun {
 protected:
  void wait_for_prompt() {
    program_.wait_for_output("> ");
    program_.wait_for_raw_mode();
  }
  void type(std::string_view keys) { program_.write(keys); }

  static constexpr const char* kCtrlC = "\x03";
  static constexpr const char* kCtrlD = "\x04";
  Program program_{OnTerminal{}, arguments("chat"), {"TERM=xterm", "NO_COLOR=1"}};
};

TEST_F(Terminal, CtrlCStopsTheAnswerAndKeepsThePrompt) {
  const std::string saved = folder_ / "saved.json";
  wait_for_prompt();
  type("hello\r");
  program_.wait_for_output("hello");  // as it was typed
  program_.wait_for_output("e");      // of an answer that would go on for minutes
  type(kCtrlC);
  type("/save " + saved + "\r");
  program_.wait_for_output("2 messages");
  wait_for_prompt();
  type("/set max-tokens 2\r");
  wait_for_prompt();
  type("again\r/save " + saved + "\r");
  program_.wait_for_output("4 messages");
  wait_for_prompt();
  type(kCtrlD);
  EXPECT_EQ(program_.finish().code, 0);
  const ordered_json messages = ordered_json::parse(read_text(saved));
  ASSERT_EQ(messages.size(), 4u);
  EXPECT_EQ(messages[0]["content"], "hello");
  EXPECT_NE(messages[1]["content"], "") << "what was said stays";
  EXPECT_EQ(messages[2]["content"], "again");
}

TEST_F(Terminal, CtrlCAtThePromptLeavesTheSecondTime) {
  wait_for_prompt();
  type("half a li");
  program_.wait_for_output("half a li");
  type(kCtrlC);
  program_.wait_for_output("Ctrl+C again or Ctrl+D leaves");
  wait_for_prompt();
  type(kCtrlC);
  EXPECT_EQ(program_.finish().code, 130);
}

TEST_F(Terminal, CtrlDLeavesAtOnce) {
  wait_for_prompt();
  type(kCtrlC);
  // What is typed before this line is thrown away with the one that Ctrl+C ended.
  program_.wait_for_output("Ctrl+C again or Ctrl+D leaves");
  wait_for_prompt();
  type(kCtrlD);
  EXPECT_EQ(program_.finish().code, 0);
}

}  // namespace
}  // namespace candela::test
