// Finding rows of the tables of option_table.cc.
#include <algorithm>

#include "base/error.h"
#include "cli/option_table.h"

namespace weir::cli {

const CommandSpec& spec_of(CommandId command) {
  for (const CommandSpec& spec : all_commands()) {
    if (spec.id == command) return spec;
  }
  bug("every CommandId is in the table", __FILE__, __LINE__);
}

const OptionSpec& spec_of(OptionId option) {
  for (const OptionSpec& spec : all_options()) {
    if (spec.id == option) return spec;
  }
  bug("every OptionId is in the table", __FILE__, __LINE__);
}

// The option so spelled that the command takes, else any of that spelling.
template <class IsSpelled>
static const OptionSpec* find_option(CommandId command, IsSpelled is_spelled) {
  const OptionSpec* found = nullptr;
  for (const OptionSpec& option : all_options()) {
    if (!is_spelled(option)) continue;
    if (takes(command, option)) return &option;
    found = &option;
  }
  return found;
}

const OptionSpec* find_long_option(std::string_view name, CommandId command) {
  return find_option(command, [name](const OptionSpec& option) {
    return option.name == name || std::ranges::find(option.aliases, name) != option.aliases.end();
  });
}

const OptionSpec* find_short_option(char letter, CommandId command) {
  return find_option(command, [letter](const OptionSpec& option) { return option.letter == letter; });
}

bool takes(CommandId command, const OptionSpec& option) {
  // These say to `weir session create` what they were told.
  if (command == CommandId::service_create) return takes(CommandId::session_create, option);
  if (command == CommandId::session)
    return takes(CommandId::session_create, option) && option.id != OptionId::output && option.id != OptionId::json;
  return (option.commands & only(command)) != 0;
}

std::vector<std::string_view> command_words_after(std::string_view prefix) {
  std::vector<std::string_view> words;
  for (const CommandSpec& command : all_commands()) {
    std::string_view name = command.name;
    if (!name.starts_with(prefix)) continue;
    name.remove_prefix(prefix.size());
    const std::string_view word = name.substr(0, name.find(' '));
    if (std::ranges::find(words, word) == words.end()) words.push_back(word);
  }
  return words;
}

}  // namespace weir::cli
