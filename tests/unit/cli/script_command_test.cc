// weir script up to the moment of starting.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "cli/command.h"
#include "temporary_folder.h"

namespace weir::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class ScriptCommand : public testing::Test {
 protected:
  Outcome run(std::vector<std::string> words) {
    words.insert(words.begin(), "script");
    return execute(words, Caller{.environment = {{"HOME", "/root"}},
                                 .folder = folder_.path(),
                                 .floor_path = folder_.path() + "/floor.toml"});
  }
  supervisor::RunOptions planned(std::vector<std::string> words) {
    Outcome outcome = run(std::move(words));
    EXPECT_THAT(outcome.err, IsEmpty());
    EXPECT_TRUE(outcome.start);
    return outcome.start ? std::move(*outcome.start) : supervisor::RunOptions{};
  }
  std::string write(const std::string& name, const std::string& text) {
    std::ofstream(folder_.path() + "/" + name) << text;
    return name;
  }

  TemporaryFolder folder_;
};

TEST_F(ScriptCommand, CodeBecomesAFileInside) {
  const auto options = planned({"-s", "Python", "--timeout", "3s", "print(1)", "--", "-x", "--", "y"});
  ASSERT_TRUE(options.spec.script);
  EXPECT_EQ(options.spec.script->name, "main.py");
  EXPECT_EQ(options.spec.script->content, "print(1)");
  EXPECT_THAT(options.spec.argv, ElementsAre("python3", "/run/weir/script/main.py", "-x", "--", "y"));
  EXPECT_EQ(options.timeout, std::chrono::seconds(3));
  ASSERT_TRUE(options.program_missing);
  EXPECT_THAT(options.program_missing->what(), HasSubstr("no python3"));
}

TEST_F(ScriptCommand, FileKeepsItsNameWhereTheNameTellsItsLanguage) {
  EXPECT_THAT(planned({write("a b.py", "1"), "x"}).spec.argv, ElementsAre("python3", "/run/weir/script/a b.py", "x"));
  EXPECT_THAT(planned({write("tool", "#!/usr/bin/perl\n")}).spec.argv, ElementsAre("perl", "/run/weir/script/main.pl"));
}

TEST_F(ScriptCommand, FileOfTheSharedFolderIsRunWhereItIs) {
  const auto options = planned({"--here", write("a.py", "1")});
  EXPECT_FALSE(options.spec.script);
  EXPECT_THAT(options.spec.argv, ElementsAre("python3", folder_.path() + "/a.py"));
}

TEST_F(ScriptCommand, LinkOutOfTheSharedFolderIsCopied) {
  std::filesystem::create_symlink("/etc/hostname", folder_.path() + "/b.py");
  const auto options = planned({"--here", "b.py"});
  ASSERT_TRUE(options.spec.script);
  EXPECT_EQ(options.spec.script->name, "b.py");
}

TEST_F(ScriptCommand, DryRunPrintsNoCode) {
  const Outcome outcome = run({"--dry-run", "-s", "c", "int main() {}"});
  EXPECT_FALSE(outcome.start);
  EXPECT_THAT(outcome.out, HasSubstr("/run/weir/script/main.c"));
  EXPECT_THAT(outcome.out, Not(HasSubstr("int main")));
}

TEST_F(ScriptCommand, ErrorsSayWhatToWrite) {
  EXPECT_THAT(run({"-s", "pyton", "1"}).err, HasSubstr("did you mean python?"));
  EXPECT_THAT(run({write("x.data", "1")}).err, HasSubstr("weir script -s LANG - < FILE"));
  EXPECT_THAT(run({"missing.py"}).err, HasSubstr("missing.py"));
  EXPECT_THAT(run({}).err, HasSubstr("weir script FILE|CODE"));
}

}  // namespace
}  // namespace weir::cli
