// weir run up to the moment of starting: what the supervisor is given.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <optional>

#include "cli/command.h"
#include "policy/compiled/image.h"
#include "policy/text/keys.h"
#include "temporary_folder.h"

namespace weir::cli {
namespace {

using supervisor::EventsSink;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;
using testing::StartsWith;

class RunCommand : public testing::Test {
 protected:
  Outcome run(std::vector<std::string> words) {
    words.insert(words.begin(), "run");
    return execute(words, Caller{.environment = {{"TOKEN", "t0k"}, {"HOME", "/root"}},
                                 .folder = folder_.path(),
                                 .floor_path = folder_.path() + "/floor.toml"});
  }

  // The plan of a command line that must be good.
  supervisor::RunOptions planned(std::vector<std::string> words) {
    words.insert(words.end(), {"--", "true"});
    Outcome outcome = run(std::move(words));
    EXPECT_THAT(outcome.err, IsEmpty());
    EXPECT_EQ(outcome.exit_code, 0);
    EXPECT_TRUE(outcome.start);
    return outcome.start ? std::move(*outcome.start) : supervisor::RunOptions{};
  }

  TemporaryFolder folder_;
};

TEST_F(RunCommand, TheDefaultIsNoNetwork) {
  const auto options = planned({});
  EXPECT_EQ(options.spec.network, sandbox::Network::loopback);
  EXPECT_THAT(options.policy_image, IsEmpty());
  EXPECT_EQ(options.policy_mode, "none");
  EXPECT_EQ(options.policy_hash.size(), 16u);
  EXPECT_THAT(options.spec.argv, ElementsAre("true"));
  EXPECT_THAT(options.spec.shares, IsEmpty());
  EXPECT_EQ(options.events.kind, EventsSink::Kind::default_file);
  EXPECT_EQ(options.timeout, std::nullopt);
  EXPECT_EQ(options.name, options.spec.id);
  EXPECT_FALSE(options.spec.terminal);
}

TEST_F(RunCommand, ModesBecomeNetworks) {
  struct Row {
    std::vector<std::string> words;
    sandbox::Network network;
    std::string mode;
  };
  const Row rows[] = {
      {{"-n", "blocked"}, sandbox::Network::loopback, "none"},
      {{"--network=mounts_only"}, sandbox::Network::loopback, "inbound"},
      {{"--allow", "example.com"}, sandbox::Network::captured, "allowlist"},
      {{"-n", "allowlist"}, sandbox::Network::captured, "allowlist"},
      {{"-n", "public_only"}, sandbox::Network::captured, "public"},
      {{"-n", "denylist", "--deny", "a.example"}, sandbox::Network::captured, "public"},
      {{"--net", "allow_all"}, sandbox::Network::captured, "open"},
      {{"--net", "host", "--i-trust-this-code"}, sandbox::Network::host, "host"},
  };
  for (const Row& row : rows) {
    const auto options = planned(row.words);
    EXPECT_EQ(options.spec.network, row.network) << row.mode;
    EXPECT_EQ(options.policy_mode, row.mode);
    EXPECT_EQ(options.policy_image.empty(), row.network != sandbox::Network::captured) << row.mode;
  }
}

TEST_F(RunCommand, TheImageIsTheFileAndTheFlags) {
  const std::string file = folder_.write("p.toml", "version = 1\nallow = [\"a.example\"]\n");
  const auto options = planned({"--policy", file, "--allow", "b.example,c.example:80,443", "--deny", "d.a.example"});
  const auto image = policy::Image::open(options.policy_image);
  ASSERT_TRUE(image);
  EXPECT_EQ(options.policy_hash, image->hash());
  for (const auto& [index, text] :
       {std::pair{0u, "d.a.example"}, {1u, "a.example"}, {2u, "b.example"}, {3u, "c.example:80,443"}}) {
    EXPECT_EQ(image->entry_text({policy::Layer::session, index}), text);
  }
}

TEST_F(RunCommand, EveryOptionArrives) {
  folder_.write("v.env", "FROM_FILE=1\nBOTH=file\n");
  const auto options = planned({"-it",
                                "--rm",
                                "-q",
                                "--name",
                                "n1",
                                "--user",
                                "root",
                                "-w",
                                "/data",
                                "-e",
                                "A=1",
                                "-e",
                                "TOKEN",
                                "-e",
                                "BOTH=flag",
                                "--env-file",
                                folder_.path() + "/v.env",
                                "--timeout",
                                "1m",
                                "--events",
                                "e.jsonl",
                                "-o",
                                "json",
                                "--tool",
                                "/bin/sh"});
  EXPECT_TRUE(options.spec.terminal);
  EXPECT_EQ(options.verbosity, supervisor::Verbosity::quiet);
  EXPECT_EQ(options.summary, supervisor::SummaryFormat::json);
  EXPECT_EQ(options.name, "n1");
  EXPECT_EQ(options.spec.user.uid, 0u);
  EXPECT_EQ(options.spec.workdir, "/data");
  EXPECT_EQ(options.timeout, std::chrono::minutes(1));
  EXPECT_EQ(options.events.path, folder_.path() + "/e.jsonl");
  EXPECT_THAT(options.spec.tools, ElementsAre("/bin/sh"));
  EXPECT_THAT(options.spec.env, testing::IsSupersetOf({Pair("A", "1"), Pair("TOKEN", "t0k"), Pair("BOTH", "flag"),
                                                       Pair("FROM_FILE", "1"), Pair("HOME", "/root")}));
}

TEST_F(RunCommand, NothingOfTheCallersEnvironmentArrivesUnasked) {
  for (const auto& [name, value] : planned({}).spec.env) EXPECT_NE(name, "TOKEN");
}

TEST_F(RunCommand, SharesAndHere) {
  folder_.write("data", "x");
  auto options = planned({"-v", "data:/data:ro", "--here=ro"});
  ASSERT_EQ(options.spec.shares.size(), 2u);
  EXPECT_EQ(options.spec.shares[0].source, folder_.path() + "/data");
  EXPECT_EQ(options.spec.shares[0].access, sandbox::Share::Access::read_only);
  EXPECT_EQ(options.spec.shares[1].target, folder_.path());
  EXPECT_EQ(options.spec.workdir, folder_.path());
  EXPECT_EQ(planned({"--here", "-w", "/tmp"}).spec.workdir, "/tmp");
  EXPECT_THAT(planned({"--here"}).spec.shares[0].read_only_below, testing::Contains(".git/hooks"));
  EXPECT_THAT(planned({"--here=rw-all"}).spec.shares[0].read_only_below, IsEmpty());
}

TEST_F(RunCommand, NoticesSayWhatWasOpened) {
  const auto options = planned({"--allow", "10.1.2.3:5432", "--insist", "floor=169.254.169.254", "-e", "NOT_SET"});
  const auto said = [&](const std::string& text) {
    return std::ranges::any_of(options.start_notices,
                               [&](const std::string& line) { return line.find(text) != std::string::npos; });
  };
  EXPECT_TRUE(said("10.1.2.3:5432"));
  EXPECT_TRUE(said("169.254.169.254"));
  EXPECT_TRUE(said("NOT_SET is not set here"));
}

TEST_F(RunCommand, RefusalsNameThingReasonAndRemedy) {
  struct Row {
    std::vector<std::string> words;
    std::vector<std::string> parts;
  };
  const std::string tls =
      folder_.write("tls.toml", "version = 1\nallow = [\"a.example\"]\n[dns]\nupstream = [\"tls://9.9.9.9\"]\n");
  const Row rows[] = {
      {{"-n", "denylist"}, {"denylist denies nothing", "add --deny"}},
      {{"-n", "hots"}, {"'hots' is no network mode", "host"}},
      {{"-n", ""}, {"the mode is empty"}},
      {{"-n", "host"}, {"without a gateway", "add --i-trust-this-code"}},
      {{"--i-trust-this-code"}, {"without --net host"}},
      {{"--net", "host", "--i-trust-this-code", "--allow", "a.example"}, {"host", "write -n open"}},
      {{"-n", "none", "--allow", "a.example"}, {"none", "-n allowlist"}},
      {{"-n", "open", "--allow", "a.example"}, {"open", "allow"}},
      {{"--deny", "a.example"}, {"deny without a mode", "-n "}},
      {{"--allow", "*.com"}, {"'*.com' is too broad", "--insist broad=*.com"}},
      {{"--allow", "127.1"}, {"--allow", "127.1", "column"}},
      {{"--insist", "brod=*.com"}, {"--insist brod=*.com", "broad=WILDCARD"}},
      {{"--policy", "/nonexistent.toml"}, {"cannot read /nonexistent.toml: No such file"}},
      {{"--policy", tls}, {"tls://", "not available in this version"}},
      {{"-p", "80"}, {"option -p: '80' is no published port", "8080:80"}},
      {{"--user", "bob"}, {"option --user: 'bob'", "root, sandbox"}},
      {{"--timeout", "soon"}, {"option --timeout: 'soon' is not a duration", "10s"}},
      {{"--name", "a/b"}, {"option --name: 'a/b'"}},
      {{"-w", "data"}, {"option --workdir: 'data' is not absolute"}},
      {{"-e", "A-B=1"}, {"option -e: 'A-B' is no name", "NAME=VALUE"}},
      {{"--env-file", "/nonexistent"}, {"option --env-file: cannot read /nonexistent"}},
      {{"--tool", "/nonexistent"}, {"--tool", "/nonexistent"}},
      {{"-v", "nowhere:/x"}, {"option -v 'nowhere:/x'"}},
      {{"--here=yes"}, {"option --here: 'yes'", "--here=ro"}},
      {{"-o", "yaml"}, {"'yaml' is no output format"}},
  };
  for (const Row& row : rows) {
    std::vector<std::string> words = row.words;
    words.insert(words.end(), {"--", "true"});
    const Outcome outcome = run(words);
    EXPECT_EQ(outcome.exit_code, 125) << row.words[0] << " " << row.words.back();
    EXPECT_FALSE(outcome.start) << row.words[0] << " " << row.words.back();
    EXPECT_THAT(outcome.err, StartsWith("weir: "));
    EXPECT_EQ(std::ranges::count(outcome.err, '\n'), 1) << outcome.err;
    for (const std::string& part : row.parts) EXPECT_THAT(outcome.err, HasSubstr(part));
  }
}

TEST_F(RunCommand, TheCommandCannotRewriteItsRecord) {
  namespace fs = std::filesystem;
  const std::string& root = folder_.path();
  fs::create_directories(root + "/src/logs");
  fs::create_directory(root + "/out");
  folder_.write("src/old.jsonl", "");
  fs::create_symlink(root + "/src/logs", root + "/link");
  fs::create_symlink(root + "/src/old.jsonl", root + "/out/file-link");
  fs::create_symlink(root + "/out/true.jsonl", root + "/src/name-link");
  fs::create_symlink(root + "/src/not-yet", root + "/out/dangling");
  const std::vector<std::string> refused[] = {
      {"-v", "src:/x", "--events", "out/dangling"},
      {"--here", "--events", "e.jsonl"},
      {"--here=rw-all", "--events", "out/e.jsonl"},
      {"-v", "src:/x", "--events", "src/e.jsonl"},
      {"-v", "src:/x", "--events", "src/logs/e.jsonl"},
      {"-v", "src:/x", "--events", "out/../src/e.jsonl"},
      {"-v", "src:/x", "--events", "link/e.jsonl"},
      {"-v", "src:/x", "--events", "out/file-link"},
      {"-v", "src:/x", "--events", "src/name-link"},
      {"-v", "src/old.jsonl:/x", "--events", "src/old.jsonl"},
      {"-v", "out:/y:ro", "-v", "src:/x", "--events", "src/e.jsonl"},
  };
  for (std::vector<std::string> words : refused) {
    words.insert(words.end(), {"--", "true"});
    const Outcome outcome = run(words);
    EXPECT_EQ(outcome.exit_code, 125) << testing::PrintToString(words);
    EXPECT_THAT(outcome.err, HasSubstr("could rewrite its own record")) << testing::PrintToString(words);
    EXPECT_THAT(outcome.err, HasSubstr(":ro or :overlay"));
  }
  const std::vector<std::string> good[] = {
      {"--here=ro", "--events", "e.jsonl"},
      {"--here=overlay", "--events", "e.jsonl"},
      {"-v", "src:/x:copy", "--events", "src/e"},
      {"-v", "src:/x", "--events", "out/e.jsonl"},
      {"-v", "src:/x", "--events", "src.jsonl"},
      {"--here", "--events", "-"},
      {"--here", "--events", "none"},
  };
  for (const std::vector<std::string>& words : good) planned(words);
}

TEST_F(RunCommand, TheDefaultRecordIsNoPartOfAShare) {
  const char* const before = std::getenv("XDG_STATE_HOME");
  const std::optional<std::string> kept = before == nullptr ? std::nullopt : std::optional<std::string>(before);
  ::setenv("XDG_STATE_HOME", (folder_.path() + "/state").c_str(), 1);
  const std::string events = folder_.path() + "/state/weir/events";
  std::filesystem::create_directories(events);
  const Outcome outcome = run({"-v", events + ":/e", "--", "true"});
  const Outcome read_only = run({"-v", events + ":/e:ro", "--", "true"});
  const Outcome sockets = run({"--here=ro", "--", "true"});
  if (kept) {
    ::setenv("XDG_STATE_HOME", kept->c_str(), 1);
  } else {
    ::unsetenv("XDG_STATE_HOME");
  }
  EXPECT_EQ(outcome.exit_code, 125);
  EXPECT_THAT(outcome.err, HasSubstr("could rewrite its own record: " + events));
  EXPECT_EQ(read_only.exit_code, 0) << read_only.err;
  // Those of sessions, which may be made later.
  EXPECT_EQ(sockets.exit_code, 125);
  EXPECT_THAT(sockets.err, HasSubstr("would show the sockets of weir's sessions"));
}

TEST_F(RunCommand, TheExampleOfThePolicyPageCanBeRun) {
  const std::string page = policy::policy_reference_markdown();
  const std::string fence = "```toml\n";
  const std::size_t begin = page.find(fence) + fence.size();
  planned({"--policy", folder_.write("p.toml", page.substr(begin, page.find("```", begin) - begin))});
}

TEST_F(RunCommand, EveryLimitMayBeWritten) {
  for (const policy::KeySpec& key : policy::policy_keys()) {
    if (key.id != policy::KeyId::limit) continue;
    const std::string text = "version = 1\nallow = [\"a.example\"]\n[limits]\n" + std::string(key.name) + " = " +
                             (key.type == policy::KeyType::rate ? "\"3kbit/s\"" : "3") + "\n";
    planned({"--policy", folder_.write("p.toml", text)});
  }
}

TEST_F(RunCommand, HereIsRefusedAtHome) {
  const Outcome outcome = execute(std::vector<std::string>{"run", "--here", "true"},
                                  Caller{.environment = {{"HOME", folder_.path()}}, .folder = folder_.path()});
  EXPECT_EQ(outcome.exit_code, 125);
  EXPECT_THAT(outcome.err, HasSubstr("home folder"));
}

TEST_F(RunCommand, ADryRunPrintsAndStartsNothing) {
  const std::vector<std::string> words = {"--dry-run", "--here", "--allow", "example.com", "-e", "SECRET=geheim",
                                          "--timeout", "90",     "--",      "ls",          "-l"};
  const Outcome text = run(words);
  EXPECT_EQ(text.exit_code, 0);
  EXPECT_FALSE(text.start);
  for (const char* part : {"ls -l", "SECRET", "1m30s", "allowlist", "allow example.com", ".git/hooks"}) {
    EXPECT_THAT(text.out, HasSubstr(part));
  }
  EXPECT_THAT(text.out, Not(HasSubstr("geheim")));
  std::vector<std::string> as_json = words;
  as_json.insert(as_json.begin(), "--output=json");
  const Outcome json = run(as_json);
  EXPECT_FALSE(json.start);
  for (const char* part : {"\"command\":[\"ls\",\"-l\"]", "\"timeout_ms\":90000", "\"network\":\"allowlist\"",
                           "\"target\":\"", "\"policy\":{\"hash\":"}) {
    EXPECT_THAT(json.out, HasSubstr(part));
  }
  EXPECT_THAT(json.out, Not(HasSubstr("geheim")));
}

TEST_F(RunCommand, TheFloorsHashStandsInThePlan) {
  EXPECT_THAT(planned({}).floor_hash, IsEmpty());
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to make files of root";
  folder_.write("floor.toml", "version = 1\ndeny = [\"evil.example\"]\n");
  EXPECT_EQ(planned({}).floor_hash.size(), 16u);
}

}  // namespace
}  // namespace weir::cli
