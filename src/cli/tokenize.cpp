#include <fmt/format.h>

#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/command.h"
#include "cli/input_json.h"
#include "cli/options.h"
#include "cli/session.h"
#include "cli/terminal.h"
#include "engine/find_model.h"

namespace candela::cli {

namespace {

using nlohmann::ordered_json;

struct TokenizeFlags {
  std::string model, text = "-";
  std::vector<uint32_t> decode;
  bool jsonl = false, plain = false, json = false;
};

/// Tokenizer and template of a folder that may hold nothing else, or of a GGUF file.
struct Texts {
  std::string path;
  std::unique_ptr<Tokenizer> tokenizer;
  std::optional<ChatTemplate> chat_template;

  explicit Texts(const std::string& model) : path(engine::find_model(model)) {
    std::shared_ptr<const GgufFile> gguf;
    if (!std::filesystem::is_directory(path)) {
      gguf = GgufFile::open(path);
    }
    tokenizer = engine::load_tokenizer(path, gguf.get());
    chat_template = engine::load_chat_template(path, gguf.get());
  }
};

/// A template that a line of input names; a name only, so that a line cannot reach other folders.
ChatTemplate template_beside(const std::string& model, const std::string& name) {
  const std::filesystem::path folder = std::filesystem::is_directory(model)
                                           ? std::filesystem::path(model)
                                           : std::filesystem::path(model).parent_path();
  std::error_code ignored;
  if (name.empty() || std::filesystem::path(name).filename() != name || name == "." ||
      name == ".." || name.find('\0') != std::string::npos ||
      !std::filesystem::is_regular_file(folder / name, ignored)) {
    fail(ErrorKind::NotFound, Subject::Input,
         "\"template\" is \"{}\", which is no file beside the model.", name);
  }
  return ChatTemplate::from_file(folder / name);
}

/// One line of --jsonl: {"text": ...} or {"messages": ..., "tools": ..., "template": ...}.
ordered_json answer_line(const Texts& texts, const ordered_json& line) {
  if (line.contains("text")) {
    const std::string text = line.at("text").get<std::string>();
    return {{"ids", texts.tokenizer->encode(text, ParseSpecial::Yes)}, {"rendered", text}};
  }
  ChatInput input;
  input.messages = line.at("messages");
  input.tools = line.value("tools", ordered_json(nullptr));
  input.add_generation_prompt = line.value("add_generation_prompt", true);
  for (const auto& [key, value] : line.items()) {
    if (key == "enable_thinking") {
      input.variables[key] = value;
    }
  }
  if (line.contains("kwargs")) {
    input.variables.update(line.at("kwargs"));
  }
  std::optional<ChatTemplate> given;
  if (line.contains("template")) {
    given = template_beside(texts.path, line.at("template").get<std::string>());
  }
  if (!given && !texts.chat_template) {
    fail(ErrorKind::NotFound, Subject::Model, "{} has no chat template.", texts.path);
  }
  const ChatTemplate& used = given ? *given : *texts.chat_template;
  const ChatPrompt prompt = encode_chat(*texts.tokenizer, used, input, ParseSpecial::Yes);
  return {{"ids", prompt.ids}, {"rendered", prompt.rendered}};
}

int answer_lines(const Texts& texts) {
  std::string line;
  for (int number = 1; std::getline(std::cin, line); ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) {
      continue;
    }
    throw_if_interrupted();
    try {
      const ordered_json answer =
          answer_line(texts, parse_input_json(line, fmt::format("Line {}", number)));
      if (!write_out(answer.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n")) {
        return 0;  // the reader has left
      }
    } catch (const nlohmann::json::exception& error) {
      fail(ErrorKind::CorruptData, Subject::Input, "Line {} is no valid request: {}.", number,
           error.what());
    } catch (Error& error) {
      error.add_context(fmt::format("reading line {}", number));
      throw;
    }
  }
  throw_if_interrupted();
  return 0;
}

int tokenize(const TokenizeFlags& flags) {
  const Texts texts(flags.model);
  if (flags.jsonl) {
    return answer_lines(texts);
  }
  if (!flags.decode.empty()) {
    const std::string text = texts.tokenizer->decode(flags.decode, SkipSpecial::No);
    write_out((is_terminal(stdout) ? printable(text) : text) + "\n");
    return 0;
  }
  const std::vector<uint32_t> ids = texts.tokenizer->encode(
      text_or_file(flags.text), flags.plain ? ParseSpecial::No : ParseSpecial::Yes);
  if (flags.json) {
    write_out(ordered_json{{"schema_version", 1}, {"ids", ids}}.dump() + "\n");
  } else {
    write_out(fmt::format("{}\n", fmt::join(ids, " ")));
  }
  return 0;
}

}  // namespace

std::function<int()> setup_tokenize(CLI::App& app) {
  auto flags = std::make_shared<TokenizeFlags>();
  app.add_option("MODEL", flags->model,
                 "a folder with tokenizer files, a .gguf file or Org/Name of the HF cache")
      ->type_name("")
      ->required();
  app.add_option("TEXT", flags->text, "what to encode; - reads standard input, @FILE a file")
      ->type_name("");
  app.add_option("--decode", flags->decode, "ids to turn into text")->type_name("ID");
  app.add_flag("--jsonl", flags->jsonl,
               "one JSON object a line on standard input: {\"text\": ...} or {\"messages\": [...], "
               "\"tools\": [...], \"add_generation_prompt\": true, \"template\": \"file beside the "
               "model\"}; answers {\"ids\": [...], \"rendered\": \"...\"}");
  app.add_flag("--plain", flags->plain, "special tokens spelled in the text stay text");
  app.add_flag("--json", flags->json, "the ids as JSON");
  return [flags] { return tokenize(*flags); };
}

}  // namespace candela::cli
