#include "cli/completion.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>
#include <vector>

#include "cli/option_table.h"

namespace weir::cli {
namespace {

using testing::ElementsAre;
using testing::IsSupersetOf;

struct Answer {
  std::string where;
  std::vector<std::string> words;
};

// Words are separated by single spaces; a line that ends with one has an empty last word.
Answer ask(std::string_view line) {
  std::vector<std::string> words(1);
  for (const char c : line) {
    if (c == ' ') {
      words.emplace_back();
    } else {
      words.back() += c;
    }
  }
  std::istringstream lines(complete(words));
  Answer answer;
  std::getline(lines, answer.where);
  for (std::string each; std::getline(lines, each);) answer.words.push_back(each.substr(0, each.find('\t')));
  return answer;
}

TEST(Completion, Commands) {
  EXPECT_THAT(ask("").words, IsSupersetOf({"run", "policy", "doctor", "--help"}));
  EXPECT_THAT(ask("doc").words, ElementsAre("doctor"));
  EXPECT_THAT(ask("policy ex").words, ElementsAre("explain"));
  EXPECT_THAT(ask("help policy ex").words, ElementsAre("explain"));
  EXPECT_THAT(ask("nonsense ").words, ElementsAre());
  EXPECT_THAT(complete({}), "words\n");
}

TEST(Completion, EveryOptionOfACommandAndNoOther) {
  for (const CommandSpec& command : all_commands()) {
    const Answer answer = ask(std::string(command.name) + " --");
    EXPECT_EQ(answer.where, "words");
    for (const OptionSpec& option : all_options()) {
      const bool offered = std::ranges::count(answer.words, "--" + std::string(option.name)) == 1;
      const OptionSpec* of_command = find_long_option(option.name, command.id);  // a spelling may stand for two
      EXPECT_EQ(offered, takes(command.id, *of_command)) << command.name << " " << option.name;
    }
  }
}

TEST(Completion, Values) {
  EXPECT_THAT(ask("run -n semi").words, ElementsAre("semitrusted"));
  EXPECT_THAT(ask("run --net semi").words, ElementsAre("semitrusted"));
  EXPECT_THAT(ask("run --net=semi").words, ElementsAre("--net=semitrusted"));
  EXPECT_THAT(ask("run -it -n semi").words, ElementsAre("semitrusted"));
  EXPECT_THAT(ask("run -itn semi").words, ElementsAre("semitrusted"));
  EXPECT_THAT(ask("run --here=").words, ElementsAre("--here=ro", "--here=overlay", "--here=rw-all"));
  EXPECT_THAT(ask("doctor -o ").words, ElementsAre("text", "json"));
  EXPECT_THAT(ask("run --user ").words, ElementsAre("root", "sandbox"));
  EXPECT_THAT(ask("run --no-such=x").words, ElementsAre());
  EXPECT_THAT(ask("completion ").words, ElementsAre("bash", "zsh", "fish"));
}

TEST(Completion, SetsInLists) {
  EXPECT_THAT(ask("run --allow @pyp").words, ElementsAre("@pypi"));
  EXPECT_THAT(ask("run --allow a.test,@pyp").words, ElementsAre("a.test,@pypi"));
  EXPECT_THAT(ask("run --allow=a.test,@pyp").words, ElementsAre("--allow=a.test,@pypi"));
  EXPECT_THAT(ask("policy sets pyp").words, ElementsAre("pypi"));
  EXPECT_THAT(ask("policy sets pypi ").words, ElementsAre());
}

TEST(Completion, Files) {
  EXPECT_EQ(ask("run --policy ").where, "files ");
  EXPECT_EQ(ask("run --policy=a").where, "files --policy=");
  EXPECT_EQ(ask("run -v ./d").where, "files ");
  EXPECT_EQ(ask("run -v ./d:/d").where, "words");
  EXPECT_EQ(ask("policy test a.toml ").where, "files ");
  EXPECT_EQ(ask("policy test a.toml b.txt ").where, "words");
  EXPECT_EQ(ask("run --events ").where, "files ");
  EXPECT_THAT(ask("run --events ").words, ElementsAre("-", "none"));
}

// From there on the words are another program's.
TEST(Completion, TheCommandInside) {
  EXPECT_EQ(ask("run ").where, "command 1");
  EXPECT_EQ(ask("run ls").where, "command 1");
  EXPECT_EQ(ask("run -- ls").where, "command 2");
  EXPECT_EQ(ask("run --allow a.test ls -").where, "command 3");
  EXPECT_EQ(ask("run -n none ls --allow ").where, "command 3");
  EXPECT_EQ(ask("run --here ls --he").where, "command 2");
  EXPECT_EQ(ask("run -- --he").where, "command 2");
}

TEST(Completion, MeaningsStandOnOneLine) {
  const std::vector<std::string> words = {"run", "-"};
  std::istringstream lines(complete(words));
  for (std::string line; std::getline(lines, line);) EXPECT_LE(std::ranges::count(line, '\t'), 1) << line;
}

TEST(Completion, Shells) {
  for (const char* name : {"bash", "zsh", "fish"}) {
    const auto shell = parse_shell(name);
    ASSERT_TRUE(shell);
    EXPECT_THAT(std::string(completion_script(*shell)), testing::HasSubstr(std::string("completion ") + name));
  }
  EXPECT_FALSE(parse_shell("tcsh"));
}

}  // namespace
}  // namespace weir::cli
