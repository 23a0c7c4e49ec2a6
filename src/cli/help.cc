#include "cli/help.h"

#include <algorithm>
#include <array>

namespace weir::cli {
namespace {

constexpr std::size_t kWidth = 100;
constexpr std::array kGroups = {Group::network, Group::files, Group::process, Group::output};

struct ExitCode {
  std::string_view code;
  std::string_view meaning;
};
constexpr std::array kRunExitCodes = {
    ExitCode{"0-255", "the exit code of the command"},
    ExitCode{"128+n", "signal n ended the command"},
    ExitCode{"124", "the timeout ended it"},
    ExitCode{"125", "weir itself failed; one line on stderr says what, why, and what to do"},
    ExitCode{"126", "the command exists but cannot be executed"},
    ExitCode{"127", "the command was not found"},
};

// Breaks at spaces; every line begins with `indent` spaces.
std::string wrapped(std::string_view text, std::size_t indent) {
  std::string out;
  std::string line(indent, ' ');
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(' '), text.size());
    const std::string_view word = text.substr(0, end);
    if (line.size() > indent && line.size() + 1 + word.size() > kWidth) {
      out += line + "\n";
      line.assign(indent, ' ');
    }
    if (line.size() > indent) line += ' ';
    line += word;
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out + line + "\n";
}

std::string padded(std::string_view text, std::size_t width) {
  std::string out(text);
  if (out.size() < width) out.append(width - out.size(), ' ');
  return out;
}

// "-n, --net, --network MODE"
std::string spellings(const OptionSpec& option) {
  std::string out;
  if (option.letter != '\0') out += std::string("-") + option.letter + ", ";
  out += "--" + std::string(option.name);
  for (std::string_view alias : option.aliases) out += ", --" + std::string(alias);
  if (option.value == ValueKind::required) out += " " + std::string(option.metavar);
  if (option.value == ValueKind::optional) out += "[=" + std::string(option.metavar) + "]";
  return out;
}

std::string usage(const CommandSpec& command) {
  std::string line = "weir " + std::string(command.name) + " [options]";
  if (!command.operands.empty()) line += " " + std::string(command.operands);
  return line;
}

// Calls `each(option)` for the options of a command that stand in a group.
template <class Each>
void for_each_option(CommandId command, Group group, Each each) {
  for (const OptionSpec& option : all_options()) {
    if (option.group == group && (option.commands & only(command)) != 0) each(option);
  }
}

std::string note_of(const OptionSpec& option) {
  return option.repeat == Repeat::many ? std::string(option.help) + " May be repeated." : std::string(option.help);
}

std::string markdown_cell(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c == '|' || c == '*' || c == '<' || c == '_') out += '\\';
    out += c;
  }
  return out;
}

// A bar ends a table cell even inside a code span.
std::string markdown_code(std::string_view text) {
  std::string out = "`";
  for (char c : text) {
    if (c == '|') out += '\\';
    out += c;
  }
  return out + "`";
}

std::string command_markdown(const CommandSpec& command) {
  std::string out = "\n## weir " + std::string(command.name) + "\n\n```\n" + usage(command) + "\n```\n\n" +
                    std::string(command.description) + "\n\n| option | meaning | example |\n| --- | --- | --- |\n";
  for (Group group : kGroups) {
    for_each_option(command.id, group, [&](const OptionSpec& option) {
      out += "| " + markdown_code(spellings(option)) + " | " + markdown_cell(note_of(option)) + " | " +
             markdown_code(option.example) + " |\n";
    });
  }
  out += "\nExamples:\n\n```sh\n";
  for (const Example& example : command.examples) {
    out += std::string(example.command) + "   # " + std::string(example.says) + "\n";
  }
  return out + "```\n";
}

}  // namespace

std::string overview_help() {
  std::string out =
      "weir runs untrusted code in a sandbox whose only way out is a gateway that you control.\n\n"
      "Usage: weir COMMAND [options] [arguments]\n\nCommands:\n";
  for (const CommandSpec& command : all_commands()) {
    out += "  " + padded(command.name, 16) + std::string(command.summary) + "\n";
  }
  return out +
         "\nFirst steps:\n"
         "  weir doctor                                        what this machine can enforce\n"
         "  weir run -- python3 task.py                        no network at all\n"
         "  weir run --allow pypi.org -- python3 task.py       one host, nothing else\n"
         "\nweir help COMMAND, or weir COMMAND --help, explains one command.\n";
}

std::string command_help(CommandId id) {
  const CommandSpec& command = spec_of(id);
  std::string out = "Usage: " + usage(command) + "\n\n" + wrapped(command.description, 0);
  for (Group group : kGroups) {
    std::string options;
    for_each_option(id, group, [&](const OptionSpec& option) {
      options += "  " + spellings(option) + "\n" + wrapped(note_of(option), 10) +
                 wrapped("Example: " + std::string(option.example), 10);
    });
    if (!options.empty()) out += "\n" + std::string(title_of(group)) + ":\n" + options;
  }
  out += "\nExamples:\n";
  for (const Example& example : command.examples) {
    out += "  " + std::string(example.command) + "\n      " + std::string(example.says) + "\n";
  }
  if (id == CommandId::run) {
    out += "\nExit codes:\n";
    for (const ExitCode& row : kRunExitCodes) out += "  " + padded(row.code, 8) + std::string(row.meaning) + "\n";
  }
  return out;
}

std::string cli_reference_markdown() {
  std::string out =
      "# weir: command line\n\n"
      "This page is generated by `weir help --markdown`; a test compares it. Long options also take their value after\n"
      "`=`, short ones directly (`-nopen`); flags combine (`-it`); `--` ends the options.\n\n"
      "| command | does |\n| --- | --- |\n";
  for (const CommandSpec& command : all_commands()) {
    out += "| `weir " + std::string(command.name) + "` | " + markdown_cell(command.summary) + " |\n";
  }
  for (const CommandSpec& command : all_commands()) out += command_markdown(command);
  out += "\n## Exit codes\n\n`weir run` exits with\n\n| code | meaning |\n| --- | --- |\n";
  for (const ExitCode& row : kRunExitCodes) {
    out += "| " + std::string(row.code) + " | " + markdown_cell(row.meaning) + " |\n";
  }
  return out +
         "\nThe other commands exit with 0, with 1 where their description says so, and with 125 when they failed.\n"
         "\n## Durations and sizes\n\n"
         "One grammar everywhere. Durations: `500ms`, `10s`, `1m30s`, `2h`, `7d`; a bare number counts seconds. "
         "Sizes:\n"
         "`512M` and `512MiB` are 512 x 1024 x 1024 bytes, `200MB` is 200 x 1000 x 1000; a bare number counts bytes.\n";
}

}  // namespace weir::cli
