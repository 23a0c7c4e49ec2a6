// Words to options and operands, by the table.
//
// GNU style: --opt value, --opt=value, -n value, -nvalue, -n=value, -it for -i -t; "--" ends the options. Long options
// are never abbreviated: a script must not change its meaning when weir learns a new option.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "cli/option_table.h"

namespace weir::cli {

struct GivenOption {
  OptionId id;
  std::optional<std::string> value;  // absent for flags, and for an optional value that was left out
};

struct CommandLine {
  CommandId command = CommandId::help;
  std::vector<GivenOption> options;  // in the order given
  std::vector<std::string> operands;

  bool has(OptionId id) const;
  // The value of an option that may stand once; nothing when it does not stand there or has no value.
  std::optional<std::string> value(OptionId id) const;
  // Every value, in order.
  std::vector<std::string> values(OptionId id) const;
  // The options as they can be said again, one word each.
  std::vector<std::string> option_words() const;
};

// `words`: the arguments of the process without its own name. --help anywhere before "--" asks for help and is checked
// for nothing else; the answer then has the option OptionId::help and operands that may be incomplete. Errors name the
// word and the nearest spelling that would be valid.
Result<CommandLine> parse_command_line(std::span<const std::string> words);

// The command that one or two words name ("run", or "policy" "check"); `used` is set to the number of words taken.
Result<CommandId> find_command(std::span<const std::string> words, std::size_t& used);

}  // namespace weir::cli
