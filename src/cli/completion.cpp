// Scripts that complete commands and flags in a shell, made from the command table.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "base/error.h"
#include "cli/command.h"
#include "cli/terminal.h"

namespace candela::cli {

namespace {

using Names = std::vector<std::string>;

/// What may stand for a word of --help: these texts, and file names where `files`.
struct Values {
  std::string_view type;
  std::string_view choices;
  bool files = false;
};

constexpr Values kValues[] = {{"WHERE", "auto cpu wgpu"},   {"LIBRARY", "dawn wgpu-native", true},
                              {"CLASS", "auto exact fast"}, {"TYPE", "f32 bf16"},
                              {"SHELL", "bash zsh fish"},   {"FILE", "", true},
                              {"FOLDER", "", true}};

struct Flag {
  Names names;  ///< with their dashes; none: an argument without a name
  std::string help, type;
  bool takes_value = false;
  Values values;
};

struct CommandFlags {
  const Command* command;
  std::vector<Flag> flags;     ///< with names
  std::string_view arguments;  ///< what those without names may be; empty: files
};

Flag flag_of(const CLI::Option& option) {
  Flag flag;
  for (const std::string& name : option.get_snames()) {
    flag.names.push_back("-" + name);
  }
  for (const std::string& name : option.get_lnames()) {
    flag.names.push_back("--" + name);
  }
  flag.help = option.get_description();
  flag.takes_value = option.get_items_expected_max() > 0;
  flag.type = option.get_type_name();
  for (const Values& values : kValues) {
    if (values.type == flag.type) {
      flag.values = values;
    }
  }
  return flag;
}

std::vector<CommandFlags> describe() {
  std::vector<CommandFlags> all;
  for (const Command& command : commands()) {
    CLI::App app;
    const auto body = command.setup(app);  // owns what the options point to
    CommandFlags one{&command, {}, {}};
    for (const CLI::Option* option : app.get_options()) {
      Flag flag = flag_of(*option);
      if (flag.names.empty()) {
        one.arguments = flag.values.choices;
      } else {
        one.flags.push_back(std::move(flag));
      }
    }
    all.push_back(std::move(one));
  }
  return all;
}

/// In single quotes, as all three shells read them.
std::string in_quotes(std::string_view text) {
  std::string out = "'";
  for (const char c : text) {
    out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  }
  return out + "'";
}

std::string bash_script(const std::vector<CommandFlags>& all) {
  Names names{"--help", "--version"};
  std::string cases;
  for (const CommandFlags& one : all) {
    names.emplace_back(one.command->name);
    cases += fmt::format("    {}) case $before in\n", one.command->name);
    Names flags;
    for (const Flag& flag : one.flags) {
      flags.insert(flags.end(), flag.names.begin(), flag.names.end());
      if (flag.takes_value) {
        cases += fmt::format("      {}) words='{}'{} ;;\n", fmt::join(flag.names, "|"),
                             flag.values.choices, flag.values.files ? "; files=1" : "");
      }
    }
    cases +=
        fmt::format("      *) flags='{}'; words='{}'{} ;;\n      esac ;;\n", fmt::join(flags, " "),
                    one.arguments, one.arguments.empty() ? "; files=1" : "");
  }
  return fmt::format(
      "_candela() {{\n"
      "  local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}}\n"
      "  local words= flags= files=\n"
      "  if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
      "    words='{}'\n"
      "  else case ${{COMP_WORDS[1]}} in\n"
      "{}"
      "  esac; fi\n"
      "  case $word in -*) words=\"$words $flags\" ;; esac\n"
      "  [ -z \"$files\" ] || compopt -o default\n"
      "  COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
      "}}\n"
      "complete -F _candela candela\n",
      fmt::join(names, " "), cases);
}

/// What zsh's functions read as such and not as the end of a part.
std::string zsh_text(std::string_view text) {
  std::string out;
  for (const char c : text) {
    out += std::string_view("[]:\\").find(c) == std::string_view::npos ? "" : "\\";
    out += c;
  }
  return out;
}

/// A specification of zsh's _arguments.
std::string zsh_argument(const Flag& flag) {
  std::string rest = "[" + zsh_text(flag.help) + "]";
  if (flag.takes_value) {
    const std::string choices =
        flag.values.choices.empty() ? "" : fmt::format("({})", flag.values.choices);
    rest += fmt::format(":{}:{}", flag.type, flag.values.files ? "_files" : choices);
  }
  const bool alone = flag.names.size() == 1;
  return alone ? in_quotes(flag.names[0] + rest)
               : fmt::format("'({})'{{{}}}{}", fmt::join(flag.names, " "),
                             fmt::join(flag.names, ","), in_quotes(rest));
}

std::string zsh_script(const std::vector<CommandFlags>& all) {
  std::string list;
  std::string cases;
  for (const CommandFlags& one : all) {
    const Command& command = *one.command;
    list += fmt::format("    {}\n",
                        in_quotes(fmt::format("{}:{}", command.name, zsh_text(command.help))));
    cases += fmt::format("    {}) _arguments \\\n", command.name);
    for (const Flag& flag : one.flags) {
      cases += fmt::format("      {} \\\n", zsh_argument(flag));
    }
    cases += one.arguments.empty() ? "      '*:file:_files' ;;\n"
                                   : fmt::format("      '*:value:({})' ;;\n", one.arguments);
  }
  return fmt::format(
      "#compdef candela\n"
      "_candela() {{\n"
      "  local -a commands=(\n{}  )\n"
      "  if (( CURRENT == 2 )); then\n"
      "    _describe command commands\n"
      "    return\n"
      "  fi\n"
      "  shift words\n"
      "  (( CURRENT-- ))\n"
      "  case $words[1] in\n"
      "{}"
      "  esac\n"
      "}}\n"
      "if [ \"$funcstack[1]\" = _candela ]; then _candela \"$@\"; else compdef _candela candela; "
      "fi\n",
      list, cases);
}

std::string fish_script(const std::vector<CommandFlags>& all) {
  std::string out = "complete -c candela -f\n";
  for (const CommandFlags& one : all) {
    out += fmt::format("complete -c candela -n __fish_use_subcommand -a {} -d {}\n",
                       one.command->name, in_quotes(one.command->help));
    const std::string where =
        fmt::format("complete -c candela -n '__fish_seen_subcommand_from {}'", one.command->name);
    out += where + (one.arguments.empty() ? " -F\n" : fmt::format(" -a '{}'\n", one.arguments));
    for (const Flag& flag : one.flags) {
      out += where;
      for (const std::string& name : flag.names) {
        out += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
      }
      if (flag.takes_value) {
        out += flag.values.files ? " -r -F" : " -x";
        out += flag.values.choices.empty() ? "" : fmt::format(" -a '{}'", flag.values.choices);
      }
      out += fmt::format(" -d {}\n", in_quotes(flag.help));
    }
  }
  return out;
}

int completion(const std::string& shell) {
  const std::vector<CommandFlags> all = describe();
  if (shell == "bash") {
    write_out(bash_script(all));
  } else if (shell == "zsh") {
    write_out(zsh_script(all));
  } else if (shell == "fish") {
    write_out(fish_script(all));
  } else {
    fail(ErrorKind::InvalidArgument, Subject::Usage,
         "SHELL is \"{}\"; bash, zsh or fish is expected.", shell);
  }
  return 0;
}

}  // namespace

std::function<int()> setup_completion(CLI::App& app) {
  auto shell = std::make_shared<std::string>();
  app.add_option("SHELL", *shell, "bash, zsh or fish")->required()->type_name("SHELL");
  return [shell] { return completion(*shell); };
}

}  // namespace candela::cli
