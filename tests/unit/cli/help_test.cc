#include "cli/help.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <sstream>

#include "cli/parser.h"
#include "policy/text/mode.h"

namespace weir::cli {
namespace {

using testing::HasSubstr;

TEST(OptionTable, NoSpellingMeansTwoThingsForOneCommand) {
  for (const CommandSpec& command : all_commands()) {
    std::map<std::string, int> seen;
    for (const OptionSpec& option : all_options()) {
      if (!takes(command.id, option)) continue;
      ++seen[std::string(option.name)];
      for (std::string_view alias : option.aliases) ++seen[std::string(alias)];
      if (option.letter != '\0') ++seen[std::string(1, option.letter)];
    }
    for (const auto& [name, count] : seen) EXPECT_EQ(count, 1) << command.name << " " << name;
  }
}

TEST(OptionTable, IsWhole) {
  for (std::size_t i = 0; i < all_options().size(); ++i) {
    const OptionSpec& option = all_options()[i];
    EXPECT_EQ(&spec_of(option.id), &option) << option.name;
    EXPECT_NE(option.commands, 0) << option.name;
    EXPECT_EQ(option.value == ValueKind::none, option.metavar.empty()) << option.name;
    EXPECT_FALSE(option.help.empty()) << option.name;
    EXPECT_THAT(std::string(option.example), HasSubstr("-")) << option.name;
  }
  for (const CommandSpec& command : all_commands()) {
    EXPECT_EQ(&spec_of(command.id), &command) << command.name;
    EXPECT_FALSE(command.examples.empty()) << command.name;
    EXPECT_LE(command.min_operands, command.max_operands) << command.name;
  }
}

// Splits like a shell: spaces, and single quotes.
std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words(1);
  bool quoted = false;
  for (char c : text) {
    if (c == '\'') {
      quoted = !quoted;
    } else if (c == ' ' && !quoted) {
      words.emplace_back();
    } else {
      words.back() += c;
    }
  }
  return words;
}

TEST(OptionTable, EveryExampleParses) {
  for (const CommandSpec& command : all_commands()) {
    for (const Example& example : command.examples) {
      std::vector<std::string> words = words_of(example.command);
      ASSERT_EQ(words.front(), "weir");
      words.erase(words.begin());
      const auto of_the_shell = [](const std::string& word) { return word == ">" || word == "<" || word == "|"; };
      words.erase(std::ranges::find_if(words, of_the_shell), words.end());
      const auto line = parse_command_line(words);
      ASSERT_TRUE(line) << example.command << ": " << line.error().what();
      EXPECT_EQ(line->command, command.id) << example.command;
    }
  }
  for (const OptionSpec& option : all_options()) {
    for (const CommandSpec& command : all_commands()) {
      if ((option.commands & only(command.id)) == 0 || command.id != CommandId::run) continue;
      std::vector<std::string> words = {"run"};
      for (auto& word : words_of(option.example)) words.push_back(word);
      words.push_back("true");
      const auto line = parse_command_line(words);
      ASSERT_TRUE(line) << option.example << ": " << line.error().what();
      EXPECT_TRUE(line->has(option.id) || option.id == OptionId::interactive) << option.example;
    }
  }
}

TEST(Help, MentionsEveryOptionOfTheCommandAndNoOther) {
  for (const CommandSpec& command : all_commands()) {
    const std::string help = command_help(command.id);
    for (const OptionSpec& option : all_options()) {
      bool listed = false;
      for (const char* before : {"\n  --", ", --"}) {
        for (const char* after : {" ", ",", "[", "\n"})
          listed = listed || help.find(before + std::string(option.name) + after) != std::string::npos;
      }
      // A spelling may stand for one option here and another there (-o): what counts is whether the command takes any.
      const OptionSpec* of_command = find_long_option(option.name, command.id);
      EXPECT_EQ(listed, takes(command.id, *of_command)) << command.name << " " << option.name;
    }
    for (const Example& example : command.examples) EXPECT_THAT(help, HasSubstr(std::string(example.command)));
  }
}

TEST(Help, NamesEveryModeInEverySpelling) {
  const std::string help = " " + std::string(spec_of(OptionId::network).help);
  for (std::string_view word : policy::mode_words()) {
    const bool named = help.find(" " + std::string(word)) != std::string::npos ||
                       help.find("(" + std::string(word)) != std::string::npos;
    EXPECT_TRUE(named) << word;
  }
}

TEST(Help, FitsATerminal) {
  for (const CommandSpec& command : all_commands()) {
    std::istringstream lines(command_help(command.id));
    for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 100u) << line;
  }
}

TEST(Help, FitsANarrowTerminal) {
  for (const CommandSpec& command : all_commands()) {
    std::istringstream lines(command_help(command.id, 60));
    for (std::string line; std::getline(lines, line);) {
      // A word and what is to be typed as it stands are not broken.
      const bool text = !line.starts_with("Usage:") && !line.starts_with("  -") && !line.starts_with("  weir ");
      const bool one_word = line.find(' ', line.find_first_not_of(' ')) == std::string::npos;
      if (text && !one_word) EXPECT_LE(line.size(), 60u + (line.starts_with("  1") ? 40 : 0)) << line;
    }
  }
  EXPECT_EQ(command_help(CommandId::run, 1), command_help(CommandId::run, 40));
  EXPECT_EQ(command_help(CommandId::run, 1000), command_help(CommandId::run));
}

TEST(Help, TheManualPageNamesEverything) {
  const std::string page = manual_page();
  for (const CommandSpec& command : all_commands()) {
    EXPECT_THAT(page, HasSubstr(".SS weir " + std::string(command.name) + "\n"));
  }
  for (const OptionSpec& option : all_options()) {
    std::string typed = "\\-\\-";
    for (const char c : option.name) typed += c == '-' ? std::string("\\-") : std::string(1, c);
    EXPECT_THAT(page, HasSubstr(typed)) << option.name;
  }
}

TEST(Help, TheOverviewNamesEveryCommand) {
  for (const CommandSpec& command : all_commands()) {
    EXPECT_THAT(overview_help(), HasSubstr("\n  " + std::string(command.name)));
  }
}

TEST(Help, TheReferencePageIsWhatTheTableSays) {
  std::ifstream file(WEIR_SOURCE_DIR "/docs/reference/cli.md");
  std::stringstream text;
  text << file.rdbuf();
  EXPECT_TRUE(text.str() == cli_reference_markdown())
      << "docs/reference/cli.md is stale; run: weir help --markdown > docs/reference/cli.md";
}

}  // namespace
}  // namespace weir::cli
