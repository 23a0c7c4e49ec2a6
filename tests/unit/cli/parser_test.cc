#include "cli/parser.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weir::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

Result<CommandLine> parse(std::initializer_list<std::string> words) {
  const std::vector<std::string> list(words);
  return parse_command_line(list);
}

TEST(Parser, ReadsEverySpellingOfAValue) {
  const std::vector<std::vector<std::string>> rows = {
      {"run", "-n", "open", "true"},       {"run", "-nopen", "true"},       {"run", "-n=open", "true"},
      {"run", "--net", "open", "true"},    {"run", "--net=open", "true"},   {"run", "--network", "open", "true"},
      {"run", "--network=open", "true"},   {"run", "-itn", "open", "true"}, {"run", "-qnopen", "true"},
      {"run", "-n", "open", "--", "true"},
  };
  for (const auto& row : rows) {
    const auto line = parse_command_line(row);
    ASSERT_TRUE(line) << row[1] << ": " << line.error().what();
    EXPECT_EQ(line->command, CommandId::run);
    EXPECT_EQ(line->value(OptionId::network), "open") << row[1];
    EXPECT_THAT(line->operands, ElementsAre("true")) << row[1];
  }
}

TEST(Parser, TheFirstOperandOfRunEndsTheOptions) {
  const auto line = parse({"run", "-i", "ls", "-la", "--net", "open", "--help", "--"});
  ASSERT_TRUE(line);
  EXPECT_THAT(line->operands, ElementsAre("ls", "-la", "--net", "open", "--help", "--"));
  EXPECT_FALSE(line->has(OptionId::network));
}

TEST(Parser, DashesEndTheOptions) {
  const auto line = parse({"run", "--", "--net", "x"});
  ASSERT_TRUE(line);
  EXPECT_THAT(line->operands, ElementsAre("--net", "x"));
  EXPECT_THAT(line->options, IsEmpty());
}

TEST(Parser, OtherCommandsTakeOptionsAnywhere) {
  const auto line = parse({"policy", "explain", "example.com:443", "-o", "json", "--allow=a", "--allow", "b"});
  ASSERT_TRUE(line);
  EXPECT_EQ(line->command, CommandId::policy_explain);
  EXPECT_EQ(line->value(OptionId::output), "json");
  EXPECT_THAT(line->values(OptionId::allow), ElementsAre("a", "b"));
  EXPECT_THAT(line->operands, ElementsAre("example.com:443"));
}

TEST(Parser, AnOptionalValueNeedsTheEqualsSign) {
  auto line = parse({"run", "--here", "ro"});
  ASSERT_TRUE(line);
  EXPECT_TRUE(line->has(OptionId::here));
  EXPECT_EQ(line->value(OptionId::here), std::nullopt);
  EXPECT_THAT(line->operands, ElementsAre("ro"));
  line = parse({"run", "--here=ro", "true"});
  ASSERT_TRUE(line);
  EXPECT_EQ(line->value(OptionId::here), "ro");
}

TEST(Parser, CombinedFlags) {
  const auto line = parse({"run", "-itq", "--rm", "sh"});
  ASSERT_TRUE(line);
  for (OptionId id : {OptionId::interactive, OptionId::terminal, OptionId::quiet, OptionId::remove}) {
    EXPECT_TRUE(line->has(id));
  }
}

TEST(Parser, ADashIsAValueAndAnOperand) {
  auto line = parse({"run", "--events", "-", "true"});
  ASSERT_TRUE(line);
  EXPECT_EQ(line->value(OptionId::events), "-");
  line = parse({"policy", "check", "-"});
  ASSERT_TRUE(line);
  EXPECT_THAT(line->operands, ElementsAre("-"));
}

TEST(Parser, AnEmptyValueIsAValue) {
  const auto line = parse({"run", "--allow=", "--deny", "", "true"});
  ASSERT_TRUE(line);
  EXPECT_THAT(line->values(OptionId::allow), ElementsAre(""));
  EXPECT_THAT(line->values(OptionId::deny), ElementsAre(""));
}

TEST(Parser, HelpWinsOverWhatIsMissing) {
  for (const auto& words : std::vector<std::vector<std::string>>{
           {"run", "--help"}, {"run", "-h"}, {"run", "-i", "-h"}, {"policy", "check", "--help"}}) {
    const auto line = parse_command_line(words);
    ASSERT_TRUE(line) << words[0];
    EXPECT_TRUE(line->has(OptionId::help));
  }
  EXPECT_EQ(parse({"--help"})->command, CommandId::help);
  EXPECT_EQ(parse({"--version"})->command, CommandId::version);
}

struct BadRow {
  std::vector<std::string> words;
  std::string what;
  std::string remedy;
};

TEST(Parser, ErrorsNameTheWordAndTheRemedy) {
  const BadRow rows[] = {
      {{},
       "no command given",
       "one of: run, script, policy, image, session, service, ps, stop, exec, log, seal, diff, apply, doctor, version, "
       "completion, help"},
      {{"rnu"}, "'rnu'", "did you mean run?"},
      {{"frobnicate"}, "'frobnicate'", "one of: run"},
      {{"policy"}, "weir policy: no command given", "one of: check, explain, show, test, sets"},
      {{"policy", "explian"}, "'explian'", "did you mean policy explain?"},
      {{"run"}, "no command to run", "write weir run [--] COMMAND"},
      {{"run", "-i", "--"}, "no command to run", "COMMAND"},
      {{"run", "--alow", "x", "true"}, "option --alow: unknown", "did you mean --allow?"},
      {{"run", "--tiemout=5", "true"}, "option --tiemout: unknown", "did you mean --timeout?"},
      {{"run", "-zebra", "true"}, "option -zebra: unknown", "see weir help run"},
      {{"run", "-Z", "true"}, "option -Z: unknown", "see weir help run"},
      {{"run", "--xylophone", "true"}, "option --xylophone: unknown", "see weir help run"},
      {{"run", "--net"}, "option --net: a value is missing", "write --net MODE"},
      {{"run", "-n"}, "option -n: a value is missing", "write -n MODE"},
      {{"run", "--allow", "--deny", "x", "true"}, "a value is missing before '--deny'", "--allow=--deny"},
      {{"run", "--allow", "--", "true"}, "a value is missing before '--'", "write --allow TARGET"},
      {{"run", "--quiet=yes", "true"}, "option --quiet: takes no value", "write --quiet"},
      {{"run", "-q=yes", "true"}, "option -q: takes no value", "write -q"},
      {{"run", "-n", "open", "--network=none", "true"}, "option --network: given twice", "keep one"},
      {{"run", "--here", "--here=ro", "true"}, "option --here: given twice", "keep one"},
      {{"doctor", "--allow", "x"}, "option --allow: not an option of weir doctor", "see weir help doctor"},
      {{"doctor", "now"}, "unexpected argument 'now'", "write weir doctor"},
      {{"policy", "test", "only"}, "too few arguments", "write weir policy test FILE CASES"},
      {{"policy", "check", "a", "b"}, "unexpected argument 'b'", "FILE"},
  };
  for (const BadRow& row : rows) {
    std::string spelled;
    for (const auto& word : row.words) spelled += " " + word;
    const auto line = parse_command_line(row.words);
    ASSERT_FALSE(line) << spelled;
    EXPECT_THAT(line.error().what(), HasSubstr(row.what)) << spelled;
    EXPECT_THAT(line.error().remedy(), HasSubstr(row.remedy)) << spelled;
  }
}

// As in every GNU tool: -n with the value "etwork", and "open" is the command. The mode is then refused by name.
TEST(Parser, ALongNameAfterOneDashIsAValue) {
  const auto line = parse({"run", "-network", "open", "true"});
  ASSERT_TRUE(line);
  EXPECT_EQ(line->value(OptionId::network), "etwork");
  EXPECT_THAT(line->operands, ElementsAre("open", "true"));
}

TEST(Parser, AFlagMayStandTwice) {
  EXPECT_TRUE(parse({"run", "-q", "-q", "true"}));
}

}  // namespace
}  // namespace weir::cli
