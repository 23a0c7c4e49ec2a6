// weir session, ps, stop, exec as far as they go without a session.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/command.h"
#include "cli/session/copy.h"
#include "cli/session/run_request.h"
#include "cli/session/show.h"
#include "cli/table.h"

namespace weir::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::Pair;

Result<CommandLine> parsed(std::vector<std::string> words) {
  return parse_command_line(words);
}

Result<RunRequest> request(std::vector<std::string> words) {
  WEIR_TRY(const CommandLine line, parsed(std::move(words)));
  return plan_session_run(line, Caller{.environment = {{"TERM", "xterm"}, {"CI", "1"}}, .folder = "/"});
}

TEST(Table, ColumnsAreAsWideAsTheyMustBe) {
  Table table({"ID", "NAME"});
  table.add({"w-1", "ä"});
  table.add({"longer", ""});
  EXPECT_EQ(table.text(), "ID      NAME\nw-1     ä\nlonger  -\n");
}

TEST(Table, CellsDoNotSpeakToTheTerminal) {
  Table table({"NAME"});
  table.add({"a\nb\x1b[2J\u202e"});
  EXPECT_EQ(table.text(), "NAME\na\\x0ab\\x1b[2J\\xe2\\x80\\xae\n");
}

TEST(Table, SizesAndTimes) {
  EXPECT_EQ(short_size(0), "0 B");
  EXPECT_EQ(short_size(1023), "1023 B");
  EXPECT_EQ(short_size(1024), "1.0 KiB");
  EXPECT_EQ(short_size(1536), "1.5 KiB");
  EXPECT_EQ(short_size(1024 * 1024 - 1), "1023 KiB");
  EXPECT_EQ(short_size(1024 * 1024), "1.0 MiB");
  EXPECT_EQ(short_size(std::uint64_t{20} << 30), "20 GiB");
  EXPECT_EQ(short_time(119), "119 s");
  EXPECT_EQ(short_time(120), "2 min");
  EXPECT_EQ(short_time(86400), "24 h");
  EXPECT_EQ(short_time(10 * 86400), "10 d");
}

TEST(SessionRun, TakesTheSessionThenTheCommand) {
  for (const auto& words : std::vector<std::vector<std::string>>{{"session", "run", "demo", "--", "ls", "-l", "--"},
                                                                 {"exec", "demo", "ls", "-l", "--"},
                                                                 {"exec", "--", "demo", "ls", "-l", "--"}}) {
    const auto found = request(words);
    ASSERT_TRUE(found);
    EXPECT_EQ(found->session, "demo");
    EXPECT_THAT(found->process.argv, ElementsAre("ls", "-l", "--"));
    EXPECT_FALSE(found->process.terminal);
    EXPECT_THAT(found->process.env, IsEmpty());
    EXPECT_FALSE(found->process.overrides_network());
  }
}

TEST(SessionRun, TakesOptions) {
  const auto found =
      request({"exec",     "-it",          "-w",        "/data", "-e",    "A=b",  "-e",      "CI",
               "-e",       "MISSING",      "--timeout", "1m30s", "--net", "none", "--allow", "x.test,y.test",
               "--freeze", "--keep-files", "demo",      "true"});
  ASSERT_TRUE(found) << found.error().what();
  const wire::RunProcess& process = found->process;
  EXPECT_TRUE(process.terminal && process.freeze && process.keep_files);
  EXPECT_FALSE(process.detach || process.keeps_stdin);
  EXPECT_EQ(process.cwd, "/data");
  EXPECT_EQ(process.timeout_ms, 90'000u);
  EXPECT_THAT(process.env, ElementsAre(Pair("TERM", "xterm"), Pair("A", "b"), Pair("CI", "1")));
  EXPECT_THAT(found->notices, ElementsAre(HasSubstr("MISSING")));
  EXPECT_EQ(process.network_mode, "none");
  EXPECT_THAT(process.network_allowlist, ElementsAre("x.test,y.test"));
}

TEST(SessionRun, SaysWhatIsWrong) {
  const std::pair<std::vector<std::string>, const char*> rows[] = {
      {{"exec", "demo"}, "too few arguments"},
      {{"exec", "demo", "--"}, "no command to run"},
      {{"exec", "-t", "-d", "demo", "true"}, "-t and -d"},
      {{"exec", "--timeout", "3s,1s", "demo", "true"}, "grace"},
      {{"exec", "-w", "data", "demo", "true"}, "not absolute"},
      {{"exec", "--volume", "/a:/b", "demo", "true"}, "--volume"},
  };
  for (const auto& [words, said] : rows) {
    const auto found = request(words);
    ASSERT_FALSE(found) << said;
    EXPECT_THAT(found.error().what(), HasSubstr(said));
  }
}

TEST(SessionRun, DetachedKeepsItsInputWhereItIsAskedTo) {
  EXPECT_FALSE(request({"exec", "-d", "demo", "true"})->process.keeps_stdin);
  EXPECT_TRUE(request({"exec", "-di", "demo", "true"})->process.keeps_stdin);
  EXPECT_FALSE(request({"exec", "-i", "demo", "true"})->process.keeps_stdin);
}

TEST(SessionRun, Pids) {
  EXPECT_EQ(parse_pid("17").value(), 17u);
  for (const char* text : {"", "0", "-1", "1x", "4294967296", " 1"}) EXPECT_FALSE(parse_pid(text)) << text;
}

TEST(SessionCopy, PlacesAreInsideOrHere) {
  EXPECT_TRUE(parse_copy_place("demo:/a:b")->inside());
  EXPECT_EQ(parse_copy_place("demo:/a:b")->path, "/a:b");
  EXPECT_FALSE(parse_copy_place("./demo:/a")->inside());
  EXPECT_FALSE(parse_copy_place("/x/demo:/a")->inside());
  EXPECT_FALSE(parse_copy_place("plain")->inside());
  EXPECT_TRUE(parse_copy_place("-")->is_standard());
  EXPECT_FALSE(parse_copy_place("./-")->is_standard());
  EXPECT_FALSE(parse_copy_place("demo:a"));
  EXPECT_FALSE(parse_copy_place("demo:"));
  EXPECT_FALSE(parse_copy_place(""));
}

wire::SessionInfo example() {
  wire::SessionInfo info;
  info.id = "w-12345678";
  info.name = "demo";
  info.state = "running";
  info.created = "2026-11-21T10:00:00.000000Z";
  info.network_mode = "allowlist";
  info.ports = {"127.0.0.1:8080:80"};
  info.labels = {{"team", "a\nb"}};
  return info;
}

TEST(SessionShow, ListHasALineForEach) {
  const std::vector<wire::SessionInfo> sessions = {example()};
  const std::string text = sessions_text(sessions, seconds_of("2026-11-21T10:05:00Z"));
  EXPECT_THAT(text, HasSubstr("w-12345678  demo  running  5 min  allowlist  0          -      127.0.0.1:8080:80\n"));
  EXPECT_THAT(sessions_json(sessions), HasSubstr("[{\"id\":\"w-12345678\""));
  EXPECT_EQ(sessions_json({}), "[]\n");
}

TEST(SessionShow, OneIsRowsThatStayRows) {
  const std::string text = session_text(example());
  EXPECT_THAT(text, HasSubstr("labels      team=a\\x0ab\n"));
  EXPECT_THAT(text, Not(HasSubstr("expires")));
}

TEST(SessionShow, EndingSaysWhatNobodyElseDoes) {
  wire::ExitedProcess exited;
  using supervisor::Verbosity;
  EXPECT_EQ(ending_text(exited, "demo", Verbosity::normal), "");
  for (int i = 0; i < 7; ++i)
    exited.refused.push_back({.destination = "x\x1b" + std::to_string(i), .reason = "no-rule", .times = 2});
  exited.not_executed = "cannot execute frob: No such file or directory";
  const std::string text = ending_text(exited, "demo", Verbosity::normal);
  EXPECT_THAT(text, HasSubstr("weir: cannot execute frob"));
  EXPECT_THAT(text, HasSubstr("weir: refused x\\x1b0 (no-rule), 2 times\n"));
  EXPECT_THAT(text, HasSubstr("weir: and 2 more: weir log demo\n"));
  EXPECT_THAT(ending_text(exited, "demo", Verbosity::quiet), Not(HasSubstr("refused")));
  EXPECT_THAT(ending_text(exited, "demo", Verbosity::quiet), HasSubstr("cannot execute"));
}

}  // namespace
}  // namespace weir::cli
