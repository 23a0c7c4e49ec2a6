// weir(1), in the macros of man(7): what man-db and mandoc both read.
#include "cli/help.h"
#include "cli/help_parts.h"

namespace weir::cli {
namespace {

// Text that means itself: a backslash, a hyphen that is typed (not the one of hyphenation), and what would be a request
// at the beginning of a line.
std::string roff(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else if (c == '\'') {
      out += "\\(aq";
    } else if (c == '^') {
      out += "\\(ha";
    } else if (c == '~') {
      out += "\\(ti";
    } else if (c == '`') {
      out += "\\(ga";
    } else {
      out += c;
    }
  }
  return out.starts_with('.') ? "\\&" + out : out;
}

// Sentences begin lines, as roff wants it: the formatter knows then where a sentence ends.
std::string paragraph(std::string_view text) {
  std::string out;
  while (true) {
    const std::size_t end = text.find(". ");
    if (end == std::string_view::npos) return out + roff(text) + "\n";
    out += roff(text.substr(0, end + 1)) + "\n";
    text.remove_prefix(end + 2);
  }
}

std::string options_of(const CommandSpec& command) {
  std::string out;
  for (const Group group : kHelpGroups) {
    std::string options;
    for_each_option(command.id, group, [&](const OptionSpec& option) {
      options += ".TP\n\\fB" + roff(spellings(option)) + "\\fR\n" + paragraph(note_of(option)) + "Example: \\fB" +
                 roff(option.example) + "\\fR\n";
    });
    if (!options.empty()) out += ".PP\n" + std::string(title_of(group)) + ":\n" + options;
  }
  return out;
}

std::string command_page(const CommandSpec& command) {
  std::string out = ".SS weir " + std::string(command.name) + "\n\\fB" + roff(usage(command)) + "\\fR\n.PP\n" +
                    paragraph(command.description) + options_of(command) + ".PP\nExamples:\n";
  for (const Example& example : command.examples) {
    out += ".TP\n\\fB" + roff(example.command) + "\\fR\n" + roff(example.says) + "\n";
  }
  return out;
}

std::string exit_status() {
  std::string out = ".SH EXIT STATUS\n.B weir run\nexits with\n";
  for (const ExitCode& row : kRunExitCodes) {
    out += ".TP\n" + roff(row.code) + "\n" + roff(row.meaning) + "\n";
  }
  return out + ".PP\n" + paragraph(kOtherExitCodes);
}

constexpr std::string_view kFiles = R"(.SH FILES
.TP
.I /etc/weir/floor.toml
The operator's floor: destinations that no policy opens.
It counts only when nobody but root can have written it.
.TP
.I $XDG_STATE_HOME/weir/events/
One record per sandbox, where
.B \-\-events
names no other place;
.I \(ti/.local/state/weir/events/
when the variable is not set.
.SH ENVIRONMENT
The command inside gets none of the caller's variables but those that
.B \-\-env
names.
)";

}  // namespace

std::string manual_page() {
  // No date and no version: the page changes only when what it says does.
  std::string out =
      ".TH WEIR 1 \"\" \"weir\" \"User Commands\"\n"
      ".SH NAME\nweir \\- run untrusted code in a sandbox whose only way out is a gateway that you control\n"
      ".SH SYNOPSIS\n";
  for (const CommandSpec& command : all_commands()) {
    out += "\\fB" + roff(usage(command)) + "\\fR\n.br\n";
  }
  out.erase(out.size() - std::string_view(".br\n").size());
  out +=
      ".SH DESCRIPTION\n"
      "Long options also take their value after \\(lq=\\(rq, short ones directly (\\fB\\-nopen\\fR); flags combine\n"
      "(\\fB\\-it\\fR); \\fB\\-\\-\\fR ends the options.\n"
      ".SH COMMANDS\n";
  for (const CommandSpec& command : all_commands()) out += command_page(command);
  return out + exit_status() + std::string(kFiles);
}

}  // namespace weir::cli
