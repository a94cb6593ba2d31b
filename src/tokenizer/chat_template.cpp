#include "tokenizer/chat_template.h"

#include "base/error.h"
#include "tokenizer/bridge.h"
#include "tokenizer/text_file.h"
#include "tokenizer/utf8.h"

namespace candela {

namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using nlohmann::ordered_json;

constexpr size_t kMaxFile = size_t{32} << 20;
constexpr int kMaxDepth = 64;

/// Published templates need a few thousand instructions, and copy what they are given some times.
constexpr uint64_t kBaseFuel = 2'000'000;
constexpr uint64_t kFuelPerByte = 4;

/// Depth is checked before anything recurses over the value without a limit.
void check_value(const ordered_json& value, const char* what, int depth) {
  if (depth > kMaxDepth) {
    fail(ErrorKind::InvalidArgument, Subject::Input,
         "{} are nested more than {} levels deep; flatten them.", what, kMaxDepth);
  }
  if (value.is_string() &&
      find_invalid_utf8(value.get_ref<const std::string&>()) != std::string::npos) {
    fail(ErrorKind::InvalidArgument, Subject::Input,
         "{} hold text that is not valid UTF-8; correct the input.", what);
  }
  if (value.is_object()) {
    for (const auto& [key, member] : value.items()) {
      check_value(ordered_json(key), what, depth + 1);
      check_value(member, what, depth + 1);
    }
  } else if (value.is_array()) {
    for (const auto& member : value) {
      check_value(member, what, depth + 1);
    }
  }
}

[[noreturn]] void fail_template(const std::string& name) {
  fail(ErrorKind::CorruptData, Subject::Model,
       "{} holds a \"chat_template\" that is neither a string nor a list of named templates; "
       "download it again.",
       name);
}

/// The template in a chat_template.json or tokenizer_config.json: a string, or a list of named
/// ones of which "default" is taken.
std::optional<std::string> template_of(const json& config, const std::string& name) {
  const auto found = config.find("chat_template");
  if (found == config.end() || found->is_null()) {
    return std::nullopt;
  }
  if (found->is_string()) {
    return found->get<std::string>();
  }
  if (!found->is_array()) {
    fail_template(name);
  }
  for (const json& entry : *found) {
    if (!entry.is_object() || !entry.contains("name") || !entry.contains("template") ||
        !entry["template"].is_string()) {
      fail_template(name);
    }
    if (entry["name"] == "default") {
      return entry["template"].get<std::string>();
    }
  }
  fail_template(name);
}

}  // namespace

struct ChatTemplate::State {
  std::string source;
  std::string name;
  json roles;
  TemplateHandle handle;
};

ChatTemplate::ChatTemplate(std::string source, std::string name, json roles)
    : state_(std::make_unique<State>()) {
  state_->source = std::move(source);
  state_->name = "The chat template " + std::move(name);
  state_->roles = std::move(roles);
  CandelaTemplate* handle = nullptr;
  BridgeString error;
  const CandelaStatus status =
      candela_template_new(bridge_text(state_->source), &handle, error.out());
  state_->handle.reset(handle);
  check_bridge(status, state_->name, error);
}

ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;
ChatTemplate::~ChatTemplate() = default;

const std::string& ChatTemplate::source() const {
  return state_->source;
}

std::optional<ChatTemplate> ChatTemplate::from_folder(const fs::path& folder) {
  const fs::path config_path = folder / "tokenizer_config.json";
  json config = json::object();
  if (fs::exists(config_path)) {
    config = read_model_json(config_path, kMaxFile);
  }
  json roles = token_roles(config);
  const fs::path jinja_path = folder / "chat_template.jinja";
  if (fs::exists(jinja_path)) {
    return ChatTemplate(read_model_text(jinja_path, kMaxFile), jinja_path.string(),
                        std::move(roles));
  }
  const fs::path json_path = folder / "chat_template.json";
  if (fs::exists(json_path)) {
    auto source = template_of(read_model_json(json_path, kMaxFile), json_path.string());
    if (source) {
      return ChatTemplate(std::move(*source), json_path.string(), std::move(roles));
    }
  }
  auto source = template_of(config, config_path.string());
  if (!source) {
    return std::nullopt;
  }
  return ChatTemplate(std::move(*source), config_path.string(), std::move(roles));
}

ChatTemplate ChatTemplate::from_file(const fs::path& file) {
  const fs::path config_path = file.parent_path() / "tokenizer_config.json";
  json roles = json::object();
  if (fs::exists(config_path)) {
    roles = token_roles(read_model_json(config_path, kMaxFile));
  }
  if (file.extension() != ".json") {
    return ChatTemplate(read_model_text(file, kMaxFile), file.string(), std::move(roles));
  }
  auto source = template_of(read_model_json(file, kMaxFile), file.string());
  if (!source) {
    fail_template(file.string());
  }
  return ChatTemplate(std::move(*source), file.string(), std::move(roles));
}

std::optional<ChatTemplate> ChatTemplate::from_gguf_metadata(const GgufTokenizerSpec& spec) {
  if (spec.chat_template.empty()) {
    return std::nullopt;
  }
  json roles = json::object();
  if (spec.bos_id && *spec.bos_id < spec.tokens.size()) {
    roles["bos_token"] = spec.tokens[*spec.bos_id];
  }
  if (spec.eos_id && *spec.eos_id < spec.tokens.size()) {
    roles["eos_token"] = spec.tokens[*spec.eos_id];
  }
  return ChatTemplate(spec.chat_template, "of the GGUF file", std::move(roles));
}

void check_chat_input(const ChatInput& input) {
  check_value(input.messages, "The messages", 0);
  check_value(input.tools, "The tools", 0);
  check_value(input.variables, "The template's variables", 0);
  if (!input.messages.is_array() || input.messages.empty()) {
    fail(ErrorKind::InvalidArgument, Subject::Input,
         "The messages are not a list with at least one message; give one with \"role\" and "
         "\"content\".");
  }
  size_t number = 0;
  for (const ordered_json& message : input.messages) {
    ++number;
    if (!message.is_object() || !message.contains("role") || !message["role"].is_string()) {
      fail(ErrorKind::InvalidArgument, Subject::Input,
           "Message {} is not an object with a \"role\" that is a string; correct it.", number);
    }
  }
  if (!input.tools.is_null() && !input.tools.is_array()) {
    fail(ErrorKind::InvalidArgument, Subject::Input,
         "The tools are not a list; give a list of tool descriptions or leave them out.");
  }
  if (!input.variables.is_object()) {
    fail(ErrorKind::InvalidArgument, Subject::Input,
         "The template's variables are not an object; give {{\"name\": value}}.");
  }
}

std::string ChatTemplate::render(const ChatInput& input) const {
  check_chat_input(input);
  // Templates ask "is not none" of what they are not given, so it is null and not undefined.
  ordered_json variables = {{"tools", nullptr}, {"documents", nullptr}};
  for (const auto& [name, text] : state_->roles.items()) {
    variables[name] = text.get_ref<const std::string&>();
  }
  for (const auto& [name, value] : input.variables.items()) {
    variables[name] = value;
  }
  variables["messages"] = input.messages;
  variables["tools"] = input.tools;
  variables["add_generation_prompt"] = input.add_generation_prompt;
  const std::string text = variables.dump();
  BridgeString rendered;
  BridgeString error;
  const CandelaStatus status =
      candela_template_render(state_->handle.get(), bridge_text(text),
                              kBaseFuel + kFuelPerByte * text.size(), rendered.out(), error.out());
  check_bridge(status, state_->name, error);
  return std::string(rendered.view());
}

}  // namespace candela
