#include "cli/help_parts.h"

namespace weir::cli {

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

std::string note_of(const OptionSpec& option) {
  return option.repeat == Repeat::many ? std::string(option.help) + " May be repeated." : std::string(option.help);
}

}  // namespace weir::cli
