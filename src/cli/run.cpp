#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/command.h"
#include "cli/input_json.h"
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
  bool thinking = false, no_thinking = false;
};

std::string prompt_text(const RunFlags& flags) {
  if (!flags.file.empty()) {
    return flags.file == "-" ? text_or_file("-") : read_text_file(flags.file);
  }
  return flags.prompt == "-" ? text_or_file("-") : flags.prompt;
}

/// All that is to be answered, read before a device is opened or a model loaded.
ChatInput read_input(const RunFlags& flags) {
  ChatInput input;
  if (!flags.messages.empty()) {
    input.messages = read_input_list(flags.messages, "messages");
  }
  if (!flags.tools.empty()) {
    input.tools = read_input_list(flags.tools, "tools");
  }
  if (!flags.system.empty()) {
    nlohmann::ordered_json system{{"role", "system"}, {"content", text_or_file(flags.system)}};
    input.messages.insert(input.messages.begin(), std::move(system));
  }
  if (flags.thinking || flags.no_thinking) {
    input.variables["enable_thinking"] = flags.thinking;
  }
  const std::string text = prompt_text(flags);
  if (flags.messages.empty() || !text.empty()) {
    input.messages.push_back({{"role", "user"}, {"content", text}});
  }
  check_chat_input(input);
  return input;
}

std::vector<uint32_t> encode(const RunFlags& flags,
                             const ChatInput& input,
                             const engine::Engine& engine) {
  const ParseSpecial parse = flags.parse_special ? ParseSpecial::Yes : ParseSpecial::No;
  return flags.raw
             ? engine.encode_raw(input.messages.back().at("content").get<std::string>(), parse)
             : engine.encode(input, parse).ids;
}

void check_usage(const RunFlags& flags) {
  const auto wrong = [](const char* text) {
    fail(ErrorKind::InvalidArgument, Subject::Usage, "{}", text);
  };
  if (flags.prompt.empty() && flags.file.empty() && flags.messages.empty()) {
    wrong("There is no prompt; give one after MODEL, with --file, or - for standard input.");
  }
  if (!flags.prompt.empty() && !flags.file.empty()) {
    wrong("There are two prompts, one after MODEL and one with --file; give one of them.");
  }
  if (flags.raw && !(flags.messages + flags.system + flags.tools).empty()) {
    wrong("--raw continues a text; --messages, --system and --tools need a chat template.");
  }
}

void print_json(const RunFlags& flags, const Device& device, const engine::TextGeneration& result) {
  nlohmann::ordered_json out{
      {"schema_version", 1},          {"model", flags.model.model},
      {"device", device.name()},      {"text", result.answers[0].text},
      {"ids", result.answers[0].ids}, {"finish_reason", engine::name_of(result.answers[0].reason)}};
  out.update(to_json(result.stats));
  write_out(out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

int run(const RunFlags& flags) {
  check_usage(flags);
  const ChatInput input = read_input(flags);
  check_plan(flags.model, flags.device.wgpu_options().memory_budget);
  const Device device = flags.device.open(flags.quiet);
  engine::Engine engine = load_engine(flags.model, device, flags.quiet);
  engine::Request request = engine.make_request(encode(flags, input, engine));
  flags.sampling.apply(request);
  fit_context(request, engine, flags.model.context);

  const bool terminal = is_terminal(stdout);
  const auto show = [&](size_t, const std::string& piece) {
    const bool reader_left = !flags.json && !write_out(terminal ? printable(piece) : piece);
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
  app.add_option("PROMPT", flags->prompt, "what to answer; - reads standard input")->type_name("");
  app.add_option("-f,--file", flags->file, "read the prompt from a file")->type_name("FILE");
  app.add_option("--system", flags->system, "system prompt, or @FILE")->type_name("TEXT");
  app.add_option("--messages", flags->messages, "a JSON file with earlier messages")
      ->type_name("FILE");
  app.add_option("--tools", flags->tools, "a JSON file with a list of tools")->type_name("FILE");
  CLI::Option* thinking =
      app.add_flag("--thinking", flags->thinking, "for templates that know enable_thinking");
  app.add_flag("--no-thinking", flags->no_thinking, "the same, off")->excludes(thinking);
  app.add_flag("--raw", flags->raw, "continue the text as it is, without a chat template");
  app.add_flag("--parse-special", flags->parse_special,
               "let special tokens spelled in messages become tokens");
  app.add_flag("--json", flags->json, "one JSON object instead of text");
  app.add_flag("-q,--quiet", flags->quiet, "nothing on stderr but errors");
  app.add_flag("--stats", flags->stats, "the statistics line even with --json or --quiet");
  flags->sampling.declare(app);
  flags->device.declare(app);
  return [flags] { return run(*flags); };
}

}  // namespace candela::cli
