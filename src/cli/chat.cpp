#include <fmt/format.h>
#include <histedit.h>
#include <unistd.h>

#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <chrono>
#include <clocale>
#include <cwchar>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/command.h"
#include "cli/input_json.h"
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
    "\"\"\" begins and ends a text of several lines; Ctrl+C stops an answer; /bye or Ctrl+D "
    "leaves.\n";

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
      el_set(editor_.get(), EL_GETCFN, read_character);
    }
  }

  /// The next line without its end; false at the end of input. A signal ends it as well.
  bool next(std::string& line) {
    if (!editor_) {
      return static_cast<bool>(std::getline(std::cin, line)) && !interrupted();
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

  /// libedit's own function tries again after a signal, which would keep the program at its prompt.
  static int read_character(EditLine*, wchar_t* out) {
    std::mbstate_t state = {};
    for (char byte = 0; !interrupted() && ::read(STDIN_FILENO, &byte, 1) == 1;) {
      const size_t used = std::mbrtowc(out, &byte, 1, &state);
      if (used <= 1) {
        return 1;
      }
      if (used == static_cast<size_t>(-1)) {
        state = {};  // not of this locale: skip it
      }
    }
    return 0;
  }

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
    set_system(flags.system);
  }

  void loop() {
    std::string line;
    while (next(line)) {
      if (line.starts_with("\"\"\"")) {
        line = several_lines(line.substr(3));
      }
      if (line == "/bye" || line == "/exit") {
        return;
      }
      const ordered_json before = messages_;
      try {
        if (line.starts_with('/')) {
          command(line);
        } else if (!line.empty()) {
          messages_.push_back({{"role", "user"}, {"content", line}});
          answer();
        }
      } catch (const Error& error) {
        const bool memory = error.kind() == ErrorKind::OutOfMemory;
        if (error.kind() == ErrorKind::Internal ||
            (error.subject() == Subject::Device && !memory)) {
          throw;
        }
        messages_ = before;
        note_error(error.what());
      }
      if (reader_left_ || terminated()) {
        return;
      }
      reset_interrupt();
    }
  }

 private:
  /// Ctrl+C at the prompt drops the line; twice within two seconds it leaves.
  bool next(std::string& line) {
    using Clock = std::chrono::steady_clock;
    Clock::time_point last;
    bool again = false;
    while (!lines_.next(line)) {
      const Clock::time_point now = Clock::now();
      if (!interrupted() || terminated() || !is_terminal(stdin) ||
          (again && now - last < std::chrono::seconds(2))) {
        return false;
      }
      reset_interrupt();
      note("\n(Ctrl+C again or Ctrl+D leaves)");
      last = now;
      again = true;
    }
    return true;
  }

  std::string several_lines(std::string text) {
    std::string line;
    while (!text.ends_with("\"\"\"") && next(line)) {
      text += "\n" + line;
    }
    return text.ends_with("\"\"\"") ? text.substr(0, text.size() - 3) : text;
  }

  void set_system(const std::string& text) {
    if (!messages_.empty() && messages_[0]["role"] == "system") {
      messages_.erase(0);
    }
    if (!text.empty()) {
      messages_.insert(messages_.begin(), ordered_json{{"role", "system"}, {"content", text}});
    }
  }

  void answer() {
    ChatInput input;
    input.messages = messages_;
    const ParseSpecial parse = flags_.parse_special ? ParseSpecial::Yes : ParseSpecial::No;
    engine::Request request = engine_.make_request(engine_.encode(input, parse).ids);
    flags_.sampling.apply(request);
    fit_context(request, engine_, flags_.model.context);
    const bool terminal = is_terminal(stdout);
    const engine::TextGeneration result =
        engine_.answer({&request, 1}, [&](size_t, const std::string& piece) {
          return write_out(terminal ? printable(piece) : piece) && !interrupted();
        });
    reader_left_ = !write_out("\n");
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
    ChatInput input;
    input.messages = read_input_list(path, "messages");
    check_chat_input(input);
    messages_ = input.messages;
    note(fmt::format("{} messages", messages_.size()));
  }

  void save(const std::string& path) const {
    std::ofstream file(path);
    file << messages_.dump(2, ' ', false, ordered_json::error_handler_t::replace) << "\n";
    if (!file.flush()) {
      fail(ErrorKind::Io, Subject::Input, "{} cannot be written.", path);
    }
    note(fmt::format("{} messages", messages_.size()));
  }

  void set(const std::string& arguments) {
    CLI::App app;
    SamplingFlags changed = flags_.sampling;
    changed.declare(app, false);
    try {
      app.parse("--" + arguments);
    } catch (const CLI::Success&) {
      fail(ErrorKind::InvalidArgument, Subject::Usage,
           "/set {}: there is no such value; try /help.", arguments);
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
    if (argument.empty() && (name == "/save" || name == "/load" || name == "/set")) {
      fail(ErrorKind::InvalidArgument, Subject::Usage, "{} needs more; /help shows what.", name);
    }
    if (name == "/help" || name == "/?") {
      note(kHelp);
    } else if (name == "/clear") {
      messages_ = ordered_json::array();
      set_system(flags_.system);
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
  bool reader_left_ = false;
  ordered_json messages_ = ordered_json::array();
};

int chat(ChatFlags flags) {
  flags.system = flags.system == "-" ? "-" : text_or_file(flags.system);
  check_plan(flags.model, flags.device.wgpu_options().memory_budget);
  const Device device = flags.device.open(flags.quiet);
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
  app.add_option("--system", flags->system, "system prompt, or @FILE")->type_name("TEXT");
  app.add_flag("--parse-special", flags->parse_special,
               "let special tokens spelled in messages become tokens");
  app.add_flag("-q,--quiet", flags->quiet, "nothing on stderr but errors");
  app.add_flag("--stats", flags->stats, "a statistics line after each answer");
  flags->sampling.declare(app);
  flags->device.declare(app);
  return [flags] { return chat(*flags); };
}

}  // namespace candela::cli
