#include "cli/completion.h"

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "cli/option_table.h"
#include "policy/text/mode.h"
#include "policy/text/sets.h"

namespace weir::cli {
namespace {

struct Candidate {
  std::string word;
  std::string meaning;
};

// What is offered, before what stands there already has sorted it out.
struct Offer {
  std::vector<Candidate> words;
  bool files = false;
};

std::string first_sentence(std::string_view text) {
  const std::size_t end = std::min(text.find(". "), text.size());
  text = text.substr(0, end);
  if (text.ends_with('.')) text.remove_suffix(1);
  return std::string(text);
}

// True for a word that is written as it stands ("json", "-"); capitals stand for something else ("FILE").
bool is_literal(std::string_view alternative) {
  return std::ranges::none_of(alternative, [](char c) { return c >= 'A' && c <= 'Z'; });
}

void offer_sets(Offer& offer, std::string_view mark) {
  for (const policy::HostSet& set : policy::host_sets()) {
    offer.words.push_back({std::string(mark) + std::string(set.name), std::string(set.description)});
  }
}

// The place-holders of the table say what a value may be: nothing else has to be told to the shells.
Offer offer_for(std::string_view metavar) {
  Offer offer;
  if (metavar.starts_with("TARGET")) offer_sets(offer, "@");
  if (metavar == "SET") offer_sets(offer, "");
  if (metavar == "MODE") {
    for (std::string_view word : policy::mode_words()) offer.words.push_back({std::string(word), ""});
  }
  if (metavar.starts_with("SRC:")) offer.files = true;
  if (metavar.find(':') != std::string_view::npos || metavar.find('[') != std::string_view::npos) return offer;
  while (!metavar.empty()) {
    const std::size_t bar = std::min(metavar.find('|'), metavar.size());
    const std::string_view alternative = metavar.substr(0, bar);
    if (is_literal(alternative)) offer.words.push_back({std::string(alternative), ""});
    offer.files = offer.files || alternative == "FILE" || alternative == "PATH" || alternative == "CASES";
    metavar.remove_prefix(std::min(bar + 1, metavar.size()));
  }
  return offer;
}

// `current` is `fixed` (what is not completed: "--net=", "pypi.org,") and what stands of the value.
std::string answer(const Offer& offer, std::string_view current, std::string_view fixed) {
  std::string out = offer.files ? "files " + std::string(fixed) + "\n" : "words\n";
  for (const Candidate& candidate : offer.words) {
    const std::string word = std::string(fixed) + candidate.word;
    if (!word.starts_with(current)) continue;
    out += word + "\t" + candidate.meaning + "\n";
  }
  return out;
}

std::string answer_value(const OptionSpec& option, std::string_view current, std::string_view fixed) {
  // Lists go on after a comma.
  const bool list = option.metavar.find(',') != std::string_view::npos;
  const std::size_t comma = current.rfind(',');
  if (list && comma != std::string_view::npos && comma >= fixed.size()) fixed = current.substr(0, comma + 1);
  Offer offer = offer_for(option.metavar);
  // The second half of SRC:DST is inside.
  if (current.substr(fixed.size()).find(':') != std::string_view::npos) offer.files = false;
  return answer(offer, current, fixed);
}

std::string answer_options(CommandId command, std::string_view current) {
  Offer offer;
  for (const OptionSpec& option : all_options()) {
    if (!takes(command, option)) continue;
    const std::string meaning = first_sentence(option.help);
    offer.words.push_back({"--" + std::string(option.name), meaning});
    if (option.letter != '\0') offer.words.push_back({std::string("-") + option.letter, meaning});
  }
  return answer(offer, current, "");
}

// "FILE CASES" -> the one at `position`, without brackets; the last one for what may be repeated.
std::string_view operand_at(std::string_view operands, std::size_t position) {
  std::string_view found;
  for (std::size_t i = 0; i <= position && !operands.empty(); ++i) {
    const std::size_t space = std::min(operands.find(' '), operands.size());
    found = operands.substr(0, space);
    operands.remove_prefix(std::min(space + 1, operands.size()));
    if (operands.empty() && i < position && found.find("...") == std::string_view::npos) return {};
  }
  if (found.starts_with('[')) found = found.substr(1, found.size() - 2);
  return found;
}

std::string answer_command(std::string_view prefix, std::string_view current) {
  Offer offer;
  for (std::string_view word : command_words_after(prefix)) {
    const std::string name = std::string(prefix) + std::string(word);
    const auto spec = std::ranges::find(all_commands(), name, &CommandSpec::name);
    offer.words.push_back({std::string(word), spec == all_commands().end() ? "" : std::string(spec->summary)});
  }
  if (prefix.empty()) {
    offer.words.push_back({"--help", "every command with half a line"});
    offer.words.push_back({"--version", "print the version"});
  }
  return answer(offer, current, "");
}

// Goes through the words before the current one as the parser does, without judging them.
class Walk {
 public:
  Walk(const CommandSpec& command, std::span<const std::string> words, std::size_t next)
      : command_(command), words_(words), next_(next) {}

  std::string complete() {
    const std::size_t last = words_.size() - 1;
    for (; next_ < last && !inner_; ++next_) step(words_[next_]);
    const std::string& current = words_.back();
    if (inner_) return "command " + std::to_string(*inner_) + "\n";
    if (pending_ != nullptr) return answer_value(*pending_, current, "");
    if (!ended_ && current.starts_with("--") && current.find('=') != std::string::npos)
      return value_after_equals(current);
    if (!ended_ && current.starts_with('-')) return answer_options(command_.id, current);
    if (command_.first_operand_ends_options) return "command " + std::to_string(last) + "\n";
    return operand(current);
  }

 private:
  void step(std::string_view word) {
    if (pending_ != nullptr) {
      pending_ = nullptr;
    } else if (!ended_ && word == "--") {
      ended_ = true;
    } else if (!ended_ && word.starts_with("--")) {
      const OptionSpec* option = find_long_option(word.substr(2), command_.id);
      if (option != nullptr && option->value == ValueKind::required) pending_ = option;
    } else if (!ended_ && word.size() > 1 && word.front() == '-') {
      letters(word);
    } else if (command_.first_operand_ends_options) {
      inner_ = next_;
    } else {
      ++operands_;
    }
  }

  // A value may follow the letter in the same word; then the next one is no value.
  void letters(std::string_view word) {
    for (std::size_t i = 1; i < word.size(); ++i) {
      const OptionSpec* option = find_short_option(word[i], command_.id);
      if (option == nullptr || option->value == ValueKind::none) continue;
      if (i + 1 == word.size() && option->value == ValueKind::required) pending_ = option;
      return;
    }
  }

  std::string value_after_equals(const std::string& current) const {
    const std::size_t equals = current.find('=');
    const OptionSpec* option = find_long_option(std::string_view(current).substr(2, equals - 2), command_.id);
    if (option == nullptr || option->value == ValueKind::none) return "words\n";
    return answer_value(*option, current, std::string_view(current).substr(0, equals + 1));
  }

  std::string operand(const std::string& current) const {
    const std::string_view metavar = operand_at(command_.operands, operands_);
    if (metavar == "COMMAND...") {
      std::string prefix;
      for (std::size_t i = words_.size() - 1 - operands_; i + 1 < words_.size(); ++i) prefix += words_[i] + " ";
      return answer_command(prefix, current);
    }
    return answer(offer_for(metavar), current, "");
  }

  const CommandSpec& command_;
  std::span<const std::string> words_;
  std::size_t next_;
  const OptionSpec* pending_ = nullptr;  // its value is the next word
  bool ended_ = false;                   // "--" was there
  std::optional<std::size_t> inner_;     // where the command that runs inside begins
  std::size_t operands_ = 0;
};

}  // namespace

std::string complete(std::span<const std::string> words) {
  if (words.empty()) return "words\n";
  std::string name;
  for (std::size_t used = 0; used + 1 < words.size(); ++used) {
    name += (name.empty() ? "" : " ") + words[used];
    const auto command = std::ranges::find(all_commands(), name, &CommandSpec::name);
    // As the parser: what may follow `weir session` are the words of other commands, and options of its own.
    const bool goes_on = used + 1 < words.size() && !words[used + 1].starts_with('-');
    if (command != all_commands().end() && (!goes_on || command_words_after(name + " ").empty()))
      return Walk(*command, words, used + 1).complete();
    if (command_words_after(name + " ").empty()) return "words\n";
  }
  return answer_command(name.empty() ? "" : name + " ", words.back());
}

}  // namespace weir::cli
