#include <fmt/format.h>
#include <histedit.h>

#include <clocale>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/session.h"
#include "cli/terminal.h"

namespace candela::cli {

namespace {

using nlohmann::ordered_json;

constexpr const char* kHelp =
    "/help            this list              /clear           forget the conversation\n"
    "/system TEXT     set the system prompt  /undo            drop the last exchange\n"
    "/regen           answer again           /stats           switch the statistics line\n"
    "/save FILE       write the conversation /load FILE       read one\n"
    "/set NAME VALUE  temp, top-k, top-p, min-p, repeat-penalty, seed, max-tokens\n"
    "\"\"\" begins and ends a text of several lines; Ctrl+C stops an answer; /bye or Ctrl+D leaves.\n";

/// Lines typed by a person, with editing and history on a terminal.
class LineReader {
 public:
  LineReader() {
    std::setlocale(LC_ALL, "");  // libedit drops letters beyond ASCII without it
    if (is_terminal(stdin)) {
      editor_.reset(el_init("candela", stdin, stderr, stderr));
      history_.reset(history_init());
      HistEvent event;
      history(history_.get(), &event, H_SETSIZE, 1000);
      el_set(editor_.get(), EL_PROMPT, prompt);
      el_set(editor_.get(), EL_EDITOR, "emacs");
      el_set(editor_.get(), EL_HIST, history, history_.get());
    }
  }

  /// The next line without its end; false at the end of input.
  bool next(std::string& line) {
    if (!editor_) {
      return static_cast<bool>(std::getline(std::cin, line));
    }
    int count = 0;
    const char* read = el_gets(editor_.get(), &count);
    if (read == nullptr || count <= 0) {
      return false;
    }
    HistEvent event;
    history(history_.get(), &event, H_ENTER, read);
    line.assign(read, static_cast<size_t>(count));
    if (line.ends_with('\n')) {
      line.pop_back();
    }
    return true;
  }

 private:
  static const char* prompt(EditLine*) { return "> "; }

  struct Close {
    void operator()(EditLine* editor) const { el_end(editor); }
    void operator()(History* history) const { history_end(history); }
  };
  std::unique_ptr<History, Close> history_;
  std::unique_ptr<EditLine, Close> editor_;
};

struct ChatFlags {
  ModelFlags model;
  DeviceFlags device;
  SamplingFlags sampling;
  std::string system;
  bool parse_special = false, quiet = false, stats = false;
};

class Chat {
 public:
  Chat(const ChatFlags& flags, engine::Engine& engine, const Device& device)
      : flags_(flags), engine_(engine), device_(device) {
    set_system(flags.system.empty() ? "" : text_or_file(flags.system));
  }

  void loop() {
    std::string line;
    while (lines_.next(line)) {
      reset_interrupt();
      if (line.starts_with("\"\"\"")) {
        line = several_lines(line.substr(3));
      }
      if (line == "/bye" || line == "/exit") {
        return;
      }
      try {
        if (line.starts_with('/')) {
          command(line);
        } else if (!line.empty()) {
          messages_.push_back({{"role", "user"}, {"content", line}});
          answer();
        }
      } catch (const Error& error) {
        if (error.kind() == ErrorKind::Internal || error.subject() == Subject::Device) {
          throw;
        }
        note(std::string("error: ") + error.what());
      }
    }
  }

 private:
  std::string several_lines(std::string text) {
    std::string line;
    while (!text.ends_with("\"\"\"") && lines_.next(line)) {
      text += "\n" + line;
    }
    return text.ends_with("\"\"\"") ? text.substr(0, text.size() - 3) : text;
  }

  void set_system(const std::string& text) {
    if (!messages_.empty() && messages_[0]["role"] == "system") {
      messages_.erase(0);
    }
    if (!text.empty()) {
      messages_.insert(messages_.begin(), {{"role", "system"}, {"content", text}});
    }
  }

  void answer() {
    ChatInput input;
    input.messages = messages_;
    const ParseSpecial parse = flags_.parse_special ? ParseSpecial::Yes : ParseSpecial::No;
    engine::Request request = engine_.make_request(engine_.encode(input, parse).ids);
    flags_.sampling.apply(request);
    const bool terminal = is_terminal(stdout);
    const engine::TextGeneration result =
        engine_.answer({&request, 1}, [&](size_t, const std::string& piece) {
          return write_out(terminal ? printable(piece) : piece) && !interrupted();
        });
    write_out("\n");
    messages_.push_back({{"role", "assistant"}, {"content", result.answers[0].text}});
    if (flags_.stats) {
      print_stats(engine_, device_, result.stats);
    }
  }

  /// Removes messages up to and including the last one of the user.
  std::string undo() {
    while (!messages_.empty() && messages_.back()["role"] != "system") {
      const ordered_json last = messages_.back();
      messages_.erase(messages_.size() - 1);
      if (last["role"] == "user") {
        return last["content"].get<std::string>();
      }
    }
    return "";
  }

  void regenerate() {
    const std::string question = undo();
    if (question.empty()) {
      note("There is nothing to answer again.");
      return;
    }
    messages_.push_back({{"role", "user"}, {"content", question}});
    answer();
  }

  void load(const std::string& path) {
    const ordered_json parsed = ordered_json::parse(read_text_file(path), nullptr, false);
    ChatInput input;
    input.messages = parsed;
    check_chat_input(input);
    messages_ = parsed;
    note(fmt::format("{} messages", messages_.size()));
  }

  void save(const std::string& path) const {
    std::ofstream file(path);
    file << messages_.dump(2) << "\n";
    if (!file.flush()) {
      fail(ErrorKind::Io, Subject::Input, "{} cannot be written.", path);
    }
  }

  void set(const std::string& arguments) {
    CLI::App app;
    SamplingFlags changed = flags_.sampling;
    changed.declare(app);
    try {
      app.parse("--" + arguments);
    } catch (const CLI::ParseError& error) {
      fail(ErrorKind::InvalidArgument, Subject::Usage, "/set {}: {}.", arguments, error.what());
    }
    engine::Request probe;
    changed.apply(probe);
    flags_.sampling = changed;
  }

  void command(const std::string& line) {
    const size_t space = line.find(' ');
    const std::string name = line.substr(0, space);
    const std::string argument = space == std::string::npos ? "" : line.substr(space + 1);
    if (name == "/help" || name == "/?") {
      note(kHelp);
    } else if (name == "/clear") {
      messages_ = ordered_json::array();
      set_system(flags_.system.empty() ? "" : text_or_file(flags_.system));
    } else if (name == "/system") {
      set_system(argument);
    } else if (name == "/undo") {
      undo();
    } else if (name == "/regen") {
      regenerate();
    } else if (name == "/stats") {
      flags_.stats = !flags_.stats;
    } else if (name == "/save") {
      save(argument);
    } else if (name == "/load") {
      load(argument);
    } else if (name == "/set") {
      set(argument);
    } else {
      note(name + " is no command; /help lists them.");
    }
  }

  ChatFlags flags_;
  engine::Engine& engine_;
  const Device& device_;
  LineReader lines_;
  ordered_json messages_ = ordered_json::array();
};

int chat(const ChatFlags& flags) {
  const Device device = flags.device.open(flags.quiet);
  check_plan(flags.model, flags.device.wgpu_options().memory_budget);
  engine::Engine engine = load_engine(flags.model, device, flags.quiet);
  if (!flags.quiet) {
    note(fmt::format("{} · {} · cache {} · /help for commands, Ctrl+D to leave", flags.model.model,
                     device.name(), flags.model.kv_type));
  }
  Chat(flags, engine, device).loop();
  return interrupted() ? interrupt_exit_code() : 0;
}

}  // namespace

std::function<int()> setup_chat(CLI::App& app) {
  auto flags = std::make_shared<ChatFlags>();
  flags->model.declare(app);
  app.add_option("--system", flags->system, "system prompt, or @FILE");
  app.add_flag("--parse-special", flags->parse_special,
               "let special tokens spelled in messages become tokens");
  app.add_flag("-q,--quiet", flags->quiet, "nothing on stderr but errors");
  app.add_flag("--stats", flags->stats, "a statistics line after each answer");
  flags->sampling.declare(app);
  flags->device.declare(app);
  return [flags] { return chat(*flags); };
}

}  // namespace candela::cli
