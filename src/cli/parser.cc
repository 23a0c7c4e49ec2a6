#include "cli/parser.h"

#include <algorithm>

#include "base/failure_line.h"
#include "base/spelling.h"

namespace weir::cli {
namespace {

std::unexpected<Error> usage_error(std::string what, std::string remedy) {
  return std::unexpected(Error(std::move(what)).with_remedy(std::move(remedy)));
}

std::string see_help(CommandId command) {
  return "see weir help " + std::string(spec_of(command).name);
}

std::unexpected<Error> unknown_option(std::string_view spelled, CommandId command) {
  std::vector<std::string_view> names;
  for (const OptionSpec& option : all_options()) {
    if (!takes(command, option)) continue;
    names.push_back(option.name);
    names.insert(names.end(), option.aliases.begin(), option.aliases.end());
  }
  std::string_view bare = spelled;
  bare.remove_prefix(std::min(bare.find_first_not_of('-'), bare.size()));
  // One letter is near to every other letter: nothing sensible to offer.
  const std::string_view near = bare.size() > 1 ? nearest_spelling(bare, names) : std::string_view();
  return usage_error("option " + std::string(spelled) + ": unknown",
                     near.empty() ? see_help(command) : "did you mean --" + std::string(near) + "?");
}

// Goes through the words once; each function takes what belongs to it and advances `next_`.
class Parser {
 public:
  Parser(std::span<const std::string> words, CommandId command) : words_(words) { line_.command = command; }

  Result<CommandLine> parse() {
    const bool stops = spec_of(line_.command).first_operand_ends_options;
    while (next_ < words_.size() && !line_.has(OptionId::help)) {
      const std::string& word = words_[next_];
      if (word == "--") {
        ++next_;
        take_rest();
      } else if (word.starts_with("--")) {
        WEIR_CHECK_OK(long_option(word));
      } else if (word.size() > 1 && word.front() == '-') {
        WEIR_CHECK_OK(letters(word));
      } else if (stops) {
        take_rest();
      } else {
        line_.operands.push_back(word);
        ++next_;
      }
    }
    if (!line_.has(OptionId::help)) WEIR_CHECK_OK(check_operands());
    return std::move(line_);
  }

 private:
  void take_rest() {
    line_.operands.insert(line_.operands.end(), words_.begin() + static_cast<std::ptrdiff_t>(next_), words_.end());
    next_ = words_.size();
  }

  Result<> long_option(std::string_view word) {
    const std::size_t equals = word.find('=');
    const std::string_view spelled = word.substr(0, equals);
    const OptionSpec* option = find_long_option(spelled.substr(2), line_.command);
    WEIR_CHECK_OK(check_known(option, spelled));
    ++next_;
    std::optional<std::string> value;
    if (equals != std::string_view::npos) value = word.substr(equals + 1);
    return accept(*option, spelled, std::move(value));
  }

  // "-it", "-n open", "-nopen", "-n=open".
  Result<> letters(std::string_view word) {
    ++next_;
    for (std::size_t i = 1; i < word.size(); ++i) {
      const std::string spelled = std::string("-") + word[i];
      const OptionSpec* option = find_short_option(word[i], line_.command);
      WEIR_CHECK_OK(check_known(option, i == 1 && option == nullptr ? word : std::string_view(spelled)));
      std::optional<std::string> value;
      std::string_view rest = word.substr(i + 1);
      if (option->value != ValueKind::none && !rest.empty()) {
        if (rest.front() == '=') rest.remove_prefix(1);
        value = rest;
        i = word.size();
      } else if (rest.starts_with('=')) {
        value = rest.substr(1);
        i = word.size();
      }
      WEIR_CHECK_OK(accept(*option, spelled, std::move(value)));
    }
    return {};
  }

  Result<> check_known(const OptionSpec* option, std::string_view spelled) const {
    if (option == nullptr) return unknown_option(spelled, line_.command);
    if (!takes(line_.command, *option)) {
      const std::string command(spec_of(line_.command).name);
      return usage_error("option " + std::string(spelled) + ": not an option of weir " + command,
                         see_help(line_.command));
    }
    return {};
  }

  Result<> accept(const OptionSpec& option, std::string_view spelled, std::optional<std::string> value) {
    const std::string what = "option " + std::string(spelled);
    if (option.value == ValueKind::none && value) {
      return usage_error(what + ": takes no value, but has " + quoted(*value), "write " + std::string(spelled));
    }
    if (option.value == ValueKind::required && !value) {
      WEIR_TRY(value, next_word_as_value(option, spelled));
    }
    if (option.value != ValueKind::none && option.repeat == Repeat::once && line_.has(option.id)) {
      return usage_error(what + ": given twice", "keep one");
    }
    line_.options.push_back({option.id, std::move(value)});
    return {};
  }

  Result<std::string> next_word_as_value(const OptionSpec& option, std::string_view spelled) {
    const std::string what = "option " + std::string(spelled) + ": a value is missing";
    const std::string form = std::string(spelled) + " " + std::string(option.metavar);
    if (next_ == words_.size()) return usage_error(what, "write " + form);
    const std::string& word = words_[next_];
    // A value that is spelled exactly like an option is a forgotten value far more often than a value.
    const bool like_option =
        word == "--" || (word.starts_with("--") &&
                         find_long_option(std::string_view(word).substr(2, word.find('=') - 2), line_.command));
    if (like_option) {
      return usage_error(what + " before " + quoted(word),
                         "write " + form + ", or " + std::string(spelled) + "=" + word + " if that is the value");
    }
    ++next_;
    return word;
  }

  Result<> check_operands() const {
    const CommandSpec& command = spec_of(line_.command);
    const std::string usage = "write weir " + std::string(command.name) + " " + std::string(command.operands);
    // An image may say what runs in it.
    const bool optional = command.id == CommandId::run && line_.has(OptionId::image);
    if (line_.operands.size() < command.min_operands && !optional) {
      const std::string missing = command.id == CommandId::run      ? "no command to run"
                                  : command.id == CommandId::script ? "no file and no code to run"
                                                                    : "too few arguments";
      return usage_error("weir " + std::string(command.name) + ": " + missing, usage);
    }
    const bool bounded = command.max_operands != 255;
    if (bounded && line_.operands.size() > command.max_operands) {
      return usage_error(
          "weir " + std::string(command.name) + ": unexpected argument " + quoted(line_.operands[command.max_operands]),
          usage);
    }
    return {};
  }

  std::span<const std::string> words_;
  std::size_t next_ = 0;
  CommandLine line_;
};

// "" at the top, where the line begins with "weir:" anyway; else "weir policy: ".
std::string spelled_so_far(std::string_view prefix) {
  if (prefix.empty()) return "";
  return "weir " + std::string(prefix.substr(0, prefix.size() - 1)) + ": ";
}

std::string list_of(std::span<const std::string_view> words) {
  std::string list;
  for (std::string_view word : words) list += (list.empty() ? "" : ", ") + std::string(word);
  return list;
}

}  // namespace

bool CommandLine::has(OptionId id) const {
  return std::ranges::any_of(options, [id](const GivenOption& option) { return option.id == id; });
}

std::optional<std::string> CommandLine::value(OptionId id) const {
  for (const GivenOption& option : options) {
    if (option.id == id) return option.value;
  }
  return std::nullopt;
}

std::vector<std::string> CommandLine::values(OptionId id) const {
  std::vector<std::string> found;
  for (const GivenOption& option : options) {
    if (option.id == id && option.value) found.push_back(*option.value);
  }
  return found;
}

std::vector<std::string> CommandLine::option_words() const {
  std::vector<std::string> words;
  for (const GivenOption& option : options) {
    std::string word = "--" + std::string(spec_of(option.id).name);
    if (option.value) word += "=" + *option.value;
    words.push_back(std::move(word));
  }
  return words;
}

Result<CommandId> find_command(std::span<const std::string> words, std::size_t& used) {
  std::string name;
  for (used = 0; used < words.size() && used < 2; ++used) {
    const std::string prefix = name.empty() ? "" : name + " ";
    name = prefix + words[used];
    const auto command = std::ranges::find(all_commands(), name, &CommandSpec::name);
    // `weir session` is a command, and so is `weir session ls`: a word that follows is not an operand of the former.
    const bool goes_on = used + 1 < words.size() && !words[used + 1].starts_with('-');
    if (command != all_commands().end() && (!goes_on || command_words_after(name + " ").empty())) {
      ++used;
      return command->id;
    }
    const std::vector<std::string_view> valid = command_words_after(prefix);
    if (std::ranges::find(valid, words[used]) != valid.end()) continue;
    const std::string_view near = nearest_spelling(words[used], valid);
    return usage_error(spelled_so_far(prefix) + "unknown command " + quoted(words[used]),
                       near.empty() ? "one of: " + list_of(valid) : "did you mean " + prefix + std::string(near) + "?");
  }
  const std::string prefix = name.empty() ? "" : name + " ";
  return usage_error(spelled_so_far(prefix) + "no command given", "one of: " + list_of(command_words_after(prefix)));
}

Result<CommandLine> parse_command_line(std::span<const std::string> words) {
  if (!words.empty() && (words[0] == "--help" || words[0] == "-h")) return CommandLine{CommandId::help, {}, {}};
  if (!words.empty() && words[0] == "--version") return CommandLine{CommandId::version, {}, {}};
  std::size_t used = 0;
  WEIR_TRY(const CommandId command, find_command(words, used));
  return Parser(words.subspan(used), command).parse();
}

}  // namespace weir::cli
