#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/session.h"
#include "cli/terminal.h"

namespace candela::cli {

namespace {

struct RunFlags {
  ModelFlags model;
  DeviceFlags device;
  SamplingFlags sampling;
  std::string prompt, file, system, messages, tools;
  bool raw = false, parse_special = false, json = false, quiet = false, stats = false;
  std::optional<bool> thinking;
};

ChatInput read_messages(const RunFlags& flags) {
  ChatInput input;
  if (!flags.messages.empty()) {
    const nlohmann::ordered_json parsed =
        nlohmann::ordered_json::parse(read_text_file(flags.messages), nullptr, false);
    if (!parsed.is_array()) {
      fail(ErrorKind::CorruptData, Subject::Input, "{} is no JSON list of messages.", flags.messages);
    }
    input.messages = parsed;
  }
  if (!flags.tools.empty()) {
    input.tools = nlohmann::ordered_json::parse(read_text_file(flags.tools), nullptr, false);
    if (!input.tools.is_array()) {
      fail(ErrorKind::CorruptData, Subject::Input, "{} is no JSON list of tools.", flags.tools);
    }
  }
  if (!flags.system.empty()) {
    input.messages.insert(input.messages.begin(),
                          {{"role", "system"}, {"content", text_or_file(flags.system)}});
  }
  if (flags.thinking) {
    input.variables["enable_thinking"] = *flags.thinking;
  }
  return input;
}

std::string prompt_text(const RunFlags& flags) {
  if (!flags.file.empty()) {
    return read_text_file(flags.file);
  }
  return flags.prompt == "-" ? text_or_file("-") : flags.prompt;
}

std::vector<uint32_t> encode(const RunFlags& flags, const engine::Engine& engine) {
  const ParseSpecial parse = flags.parse_special ? ParseSpecial::Yes : ParseSpecial::No;
  const std::string text = prompt_text(flags);
  if (flags.raw) {
    return engine.encode_raw(text, parse);
  }
  ChatInput input = read_messages(flags);
  if (flags.messages.empty() || !text.empty()) {
    input.messages.push_back({{"role", "user"}, {"content", text}});
  }
  return engine.encode(input, parse).ids;
}

void print_json(const RunFlags& flags, const Device& device, const engine::TextGeneration& result) {
  nlohmann::ordered_json out{{"schema_version", 1},
                             {"model", flags.model.model},
                             {"device", device.name()},
                             {"text", result.answers[0].text},
                             {"ids", result.answers[0].ids},
                             {"finish_reason", engine::name_of(result.answers[0].reason)}};
  out.update(to_json(result.stats));
  write_out(out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

int run(const RunFlags& flags) {
  const Device device = flags.device.open(flags.quiet);
  check_plan(flags.model, flags.device.wgpu_options().memory_budget);
  engine::Engine engine = load_engine(flags.model, device, flags.quiet);
  engine::Request request = engine.make_request(encode(flags, engine));
  flags.sampling.apply(request);

  const bool terminal = is_terminal(stdout);
  const auto show = [&](size_t, const std::string& piece) {
    const bool reader_left =
        !flags.json && !write_out(terminal ? printable(piece) : piece);
    return !reader_left && !interrupted();
  };
  const engine::TextGeneration result = engine.answer({&request, 1}, show);
  if (flags.json) {
    print_json(flags, device, result);
  } else {
    write_out("\n");
  }
  if (flags.stats || (!flags.quiet && !flags.json)) {
    print_stats(engine, device, result.stats);
  }
  return interrupted() ? interrupt_exit_code() : 0;
}

}  // namespace

std::function<int()> setup_run(CLI::App& app) {
  auto flags = std::make_shared<RunFlags>();
  flags->model.declare(app);
  app.add_option("PROMPT", flags->prompt, "what to answer; - reads standard input");
  app.add_option("-f,--file", flags->file, "read the prompt from a file");
  app.add_option("--system", flags->system, "system prompt, or @FILE");
  app.add_option("--messages", flags->messages, "a JSON file with earlier messages");
  app.add_option("--tools", flags->tools, "a JSON file with a list of tools");
  app.add_flag("--thinking,!--no-thinking", flags->thinking, "for templates that know enable_thinking");
  app.add_flag("--raw", flags->raw, "continue the text as it is, without a chat template");
  app.add_flag("--parse-special", flags->parse_special,
               "let special tokens spelled in messages become tokens");
  app.add_flag("--json", flags->json, "one JSON object instead of text");
  app.add_flag("-q,--quiet", flags->quiet, "nothing on stderr but errors");
  app.add_flag("--stats", flags->stats, "the statistics line even with --json or --quiet");
  flags->sampling.declare(app);
  flags->device.declare(app);
  return [flags] {
    if (flags->prompt.empty() && flags->file.empty() && flags->messages.empty()) {
      fail(ErrorKind::InvalidArgument, Subject::Usage,
           "There is no prompt; give one after MODEL, with --file, or - for standard input.");
    }
    return run(*flags);
  };
}

}  // namespace candela::cli
