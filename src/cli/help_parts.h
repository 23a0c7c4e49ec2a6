// What the three forms of help (terminal, Markdown, manual page) say alike.
#pragma once

#include <array>
#include <string>
#include <string_view>

#include "cli/option_table.h"

namespace weir::cli {

inline constexpr std::array kHelpGroups = {Group::network, Group::files, Group::process, Group::output};

struct ExitCode {
  std::string_view code;
  std::string_view meaning;
};
// Of weir run.
inline constexpr std::array kRunExitCodes = {
    ExitCode{"0-255", "the exit code of the command"},
    ExitCode{"128+n", "signal n ended the command"},
    ExitCode{"124", "the timeout ended it"},
    ExitCode{"125", "weir itself failed; one line on stderr says what, why, and what to do"},
    ExitCode{"126", "the command exists but cannot be executed"},
    ExitCode{"127", "the command was not found"},
};
inline constexpr std::string_view kOtherExitCodes =
    "The other commands exit with 0, with 1 where their description says so, and with 125 when they failed.";

// "-n, --net, --network MODE"
std::string spellings(const OptionSpec& option);
// "weir run [options] [--] COMMAND [ARG...]"
std::string usage(const CommandSpec& command);
// What the option means, and that it may be repeated.
std::string note_of(const OptionSpec& option);

// Calls `each(option)` for the options of a command that stand in a group.
template <class Each>
void for_each_option(CommandId command, Group group, Each each) {
  for (const OptionSpec& option : all_options()) {
    if (option.group == group && takes(command, option)) each(option);
  }
}

}  // namespace weir::cli
