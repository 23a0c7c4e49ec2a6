#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "cli/command.h"
#include "temporary_folder.h"

namespace weir::cli {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

class PolicyCommand : public testing::Test {
 protected:
  Outcome run(std::vector<std::string> words) {
    words.insert(words.begin(), "policy");
    return execute(words, Caller{.environment = {}, .folder = folder_.path(), .floor_path = floor_});
  }

  TemporaryFolder folder_;
  std::string floor_ = folder_.path() + "/floor.toml";
  std::string good_ = folder_.write("good.toml", "version = 1\nallow = [\"example.com\", \"10.1.2.0/24:5432\"]\n");
};

TEST_F(PolicyCommand, CheckSaysUsable) {
  const Outcome outcome = run({"check", good_});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("good.toml: usable, "));
  EXPECT_THAT(outcome.err, IsEmpty());
}

TEST_F(PolicyCommand, CheckPrintsWarningsAndStaysUsable) {
  const Outcome outcome = run({"check", folder_.write("w.toml", "version = 1\nallow = [\"*.example.com\"]\n")});
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_THAT(outcome.out, HasSubstr("w.toml:2:"));
  EXPECT_THAT(outcome.out, HasSubstr("warning: "));
  EXPECT_THAT(outcome.out, HasSubstr("usable, 1 warning\n"));
}

TEST_F(PolicyCommand, CheckRefusesWithPlaceAndNearestKey) {
  const std::string bad = folder_.write("bad.toml", "version = 1\nalow = [\"example.com\"]\n");
  Outcome outcome = run({"check", bad});
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.err, StartsWith("weir: " + bad + ":2:1: "));
  EXPECT_THAT(outcome.err, HasSubstr("allow"));
  EXPECT_THAT(outcome.out, IsEmpty());
  outcome = run({"check", bad, "-o", "json"});
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.out, StartsWith("{\"ok\":false,\"error\":"));
}

TEST_F(PolicyCommand, AFileThatCannotBeReadIsWeirsFailure) {
  const Outcome outcome = run({"check", folder_.path() + "/none.toml"});
  EXPECT_EQ(outcome.exit_code, 125);
  EXPECT_THAT(outcome.err, HasSubstr("none.toml: No such file or directory"));
}

struct Explained {
  std::vector<std::string> words;
  const char* verdict;
  const char* also;
};

TEST_F(PolicyCommand, ExplainNamesVerdictRuleAndRemedy) {
  const Explained rows[] = {
      {{"example.com:443", "--allow", "example.com"}, "allow", "example.com"},
      {{"example.com:443", "--allow", "*.example.com"}, "refused, no-rule", "does not include example.com itself"},
      {{"evil.example:443", "--allow", "example.com"}, "refused, no-rule", "--allow"},
      {{"192.0.2.7:80"}, "refused", "mode none"},
      {{"169.254.169.254:80", "--net", "open"}, "refused, floor", ""},
      {{"a.example:443", "-n", "open", "--deny", "a.example"}, "refused, denied-by-rule", "a.example"},
  };
  for (const Explained& row : rows) {
    std::vector<std::string> words = {"explain"};
    words.insert(words.end(), row.words.begin(), row.words.end());
    const Outcome outcome = run(words);
    EXPECT_EQ(outcome.exit_code, 0) << row.words[0] << outcome.err;
    EXPECT_THAT(outcome.out, HasSubstr(row.verdict)) << row.words[0];
    EXPECT_THAT(outcome.out, HasSubstr(row.also)) << row.words[0];
  }
}

TEST_F(PolicyCommand, ExplainSpeaksJson) {
  const Outcome outcome = run({"explain", "--policy", good_, "-o", "json", "evil.example:443"});
  EXPECT_THAT(outcome.out, HasSubstr("\"verdict\":\"refuse\""));
  EXPECT_THAT(outcome.out, HasSubstr("\"reason\":\"no-rule\""));
  EXPECT_THAT(outcome.out, testing::EndsWith("}\n"));
}

TEST_F(PolicyCommand, ExplainRefusesWhatIsNoTarget) {
  const Outcome outcome = run({"explain", "127.1:80", "--allow", "example.com"});
  EXPECT_EQ(outcome.exit_code, 125);
  EXPECT_THAT(outcome.err, StartsWith("weir: "));
}

TEST_F(PolicyCommand, ShowPrintsThePolicyAndItsNoticesApart) {
  const Outcome outcome = run({"show", "--policy", good_, "--allow", "@pypi"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("files.pythonhosted.org"));
  EXPECT_THAT(outcome.err, HasSubstr("10.1.2.0/24:5432"));
  EXPECT_THAT(run({"show", "-o", "json"}).out, HasSubstr("\"mode\":\"none\""));
}

TEST_F(PolicyCommand, TestCountsAndFails) {
  const std::string holds =
      folder_.write("holds.txt", "allow example.com:443\nrefuse evil.example:443 no-rule\n# nothing\n");
  Outcome outcome = run({"test", good_, holds});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err << outcome.out;
  EXPECT_EQ(outcome.out, "2 of 2 hold\n");
  outcome = run({"test", good_, folder_.write("fails.txt", "allow evil.example:443\nallow example.com:443\n")});
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.out, HasSubstr("fails.txt:1:"));
  EXPECT_THAT(outcome.out, testing::EndsWith("1 of 2 hold\n"));
  outcome = run({"test", good_, folder_.write("broken.txt", "perhaps example.com:443\n")});
  EXPECT_EQ(outcome.exit_code, 125);
  EXPECT_THAT(outcome.err, HasSubstr("broken.txt:1:"));
}

TEST_F(PolicyCommand, SetsListsOneAndAll) {
  EXPECT_THAT(run({"sets"}).out, HasSubstr("@pypi"));
  EXPECT_THAT(run({"sets", "pypi"}).out, HasSubstr("files.pythonhosted.org"));
  EXPECT_EQ(run({"sets", "@pypi"}).out, run({"sets", "pypi"}).out);
  const Outcome outcome = run({"sets", "pypy"});
  EXPECT_EQ(outcome.exit_code, 125);
  EXPECT_THAT(outcome.err, HasSubstr("pypi"));
}

TEST_F(PolicyCommand, TheOperatorsFloorIsALayer) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to make files of root";
  folder_.write("floor.toml", "version = 1\ndeny = [\"evil.example\"]\n");
  const Outcome outcome = run({"explain", "evil.example:443", "--allow", "evil.example"});
  EXPECT_THAT(outcome.out, HasSubstr("refused, denied-by-rule"));
  EXPECT_THAT(outcome.out, HasSubstr("layer floor"));
}

TEST_F(PolicyCommand, AFloorOfSomebodyElseStopsEverything) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to make files of others";
  const std::string floor = folder_.write("floor.toml", "version = 1\n");
  ASSERT_EQ(::chmod(floor.c_str(), 0666), 0);
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"show"}, {"check", good_}, {"explain", "example.com:443"}}) {
    const Outcome outcome = run(words);
    EXPECT_EQ(outcome.exit_code, 125) << words[0];
    EXPECT_THAT(outcome.err, HasSubstr("writable by others than root")) << words[0];
    EXPECT_THAT(outcome.err, HasSubstr("chmod go-w")) << words[0];
  }
}

}  // namespace
}  // namespace weir::cli
