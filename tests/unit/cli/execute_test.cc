// What a user sees of every command that needs no sandbox: text, stream and exit code.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/build_info.h"
#include "cli/command.h"
#include "cli/help.h"

namespace weir::cli {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

Outcome run(std::initializer_list<std::string> words) {
  const std::vector<std::string> list(words);
  return execute(list, Caller{.environment = {}, .folder = "/", .floor_path = "/nonexistent/floor.toml"});
}

TEST(Execute, OwnFailuresAreOneLineAnd125) {
  const std::pair<std::vector<std::string>, const char*> rows[] = {
      {{},
       "weir: no command given; one of: run, script, policy, image, session, service, ps, stop, exec, log, seal, diff, apply, "
       "doctor, version, completion, "
       "help\n"},
      {{"polciy"}, "weir: unknown command 'polciy'; did you mean policy?\n"},
      {{"run"}, "weir: weir run: no command to run; write weir run [--] COMMAND [ARG...]\n"},
      {{"run", "--tiemout", "3", "true"}, "weir: option --tiemout: unknown; did you mean --timeout?\n"},
      {{"version", "-o", "yaml"}, "weir: option -o: 'yaml' is no output format; write text or json\n"},
      {{"run", "--bad\noption\x1b[2J", "true"}, "weir: option --bad\\x0aoption\\x1b[2J: unknown; see weir help run\n"},
  };
  for (const auto& [words, line] : rows) {
    const Outcome outcome = execute(words, Caller{});
    EXPECT_EQ(outcome.exit_code, 125) << line;
    EXPECT_EQ(outcome.err, line);
    EXPECT_THAT(outcome.out, IsEmpty());
    EXPECT_FALSE(outcome.start);
  }
}

TEST(Execute, HelpInEverySpelling) {
  EXPECT_EQ(run({"--help"}).out, overview_help());
  EXPECT_EQ(run({"-h"}).out, overview_help());
  EXPECT_EQ(run({"help"}).out, overview_help());
  EXPECT_EQ(run({"help", "run"}).out, command_help(CommandId::run));
  EXPECT_EQ(run({"run", "--help"}).out, command_help(CommandId::run));
  EXPECT_EQ(run({"help", "policy", "explain"}).out, command_help(CommandId::policy_explain));
  EXPECT_EQ(run({"help", "--markdown"}).out, cli_reference_markdown());
  EXPECT_EQ(run({"help", "rnu"}).err, "weir: unknown command 'rnu'; did you mean run?\n");
  EXPECT_EQ(run({"help"}).exit_code, 0);
}

TEST(Execute, Version) {
  const std::string version(version_text());
  EXPECT_THAT(run({"version"}).out, StartsWith("weir " + version + " ("));
  EXPECT_EQ(run({"--version"}).out, run({"version"}).out);
  EXPECT_THAT(run({"version", "-o", "json"}).out, HasSubstr("{\"version\":\"" + version + "\",\"commit\":\""));
  EXPECT_THAT(run({"version"}).out, HasSubstr(std::string(compiler_text())));
}

TEST(Execute, ATestBuildSaysSo) {
  const bool says = run({"version"}).out.find(kAdmitAllWarning) != std::string::npos;
  EXPECT_EQ(says, build_kind() == BuildKind::admit_all);
}

}  // namespace
}  // namespace weir::cli
