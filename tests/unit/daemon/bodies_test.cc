#include "daemon/bodies.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weir::daemon {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using wire::ErrorCode;

const Principal kOwner = machine_owner();
const Principal kToken{.kind = Principal::Kind::token, .name = "alice", .rights = Principal::Rights::change};

TEST(CreateBody, BecomesWordsThatNoValueCanLeave) {
  const auto made = parse_create(
      R"({"name":"build","network_mode":"allowlist","network_allowlist":["pypi.org","--share-sockets"],
          "network_denylist":["a.example"],"image":"debian:12","ttl_seconds":60,"idle_seconds":5,"on_idle":"stop",
          "ports":["0:80"],"limits":{"memory":"64M","cpus":1.5,"pids":7,"disk":"1G"},"labels":{"k":"v=w"}})",
      Making::session, kToken);
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_THAT(made->words,
              ElementsAre("--net=allowlist", "--allow=pypi.org", "--allow=--share-sockets", "--deny=a.example",
                          "--image=debian:12", "--memory=64M", "--disk=1G", "--pids=7", "--cpus=1.500", "--name=build",
                          "--ttl=60s", "--idle=5s", "--on-idle=stop", "--publish=0:80", "--label=k=v=w"));
}

TEST(CreateBody, EnvironmentAndPolicyAreHandedOverInFiles) {
  const auto made =
      parse_create(R"({"env":{"KEY":"secret value","B":""},"policy":"version = 1"})", Making::session, kOwner);
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_THAT(made->words, ElementsAre("--policy=/dev/fd/4", "--env-file=/dev/fd/3"));
  EXPECT_EQ(made->env_file, "B=\nKEY=secret value\n");
  EXPECT_EQ(made->policy, "version = 1\n");
}

TEST(CreateBody, WhatIsWrongIsSaidAndNothingIsMade) {
  for (const char* body : {"",
                           "[]",
                           "{",
                           R"({"nam":"x"})",
                           R"({"name":"../x"})",
                           R"({"name":""})",
                           R"({"name":7})",
                           R"({"image":"/etc"})",
                           R"({"image":"-x"})",
                           R"({"template":".."})",
                           R"({"snapshot":"a/b"})",
                           R"({"network":"none","network_mode":"none"})",
                           R"({"network_mode":""})",
                           R"({"network":"host"})",
                           R"({"network_allowlist":"pypi.org"})",
                           R"({"network_allowlist":[""]})",
                           R"({"network_allowlist":[1]})",
                           R"({"ttl_seconds":0})",
                           R"({"ttl_seconds":1.5})",
                           R"({"ttl_seconds":-1})",
                           R"({"ttl_seconds":99999999999})",
                           R"({"env":{"A B":"x"}})",
                           R"({"env":{"A":"x\ny"}})",
                           R"({"env":{"A":"x\u0000"}})",
                           R"({"env":{"":"x"}})",
                           R"({"limits":{"memori":"1G"}})",
                           R"({"limits":{"cpus":"two"}})",
                           R"({"limits":{"pids":0}})",
                           R"({"labels":{"a=b":"c"}})",
                           R"({"name":"a","name":"b"})",
                           R"({"bootstrap":"x"})"}) {
    const auto made = parse_create(body, Making::session, kOwner);
    ASSERT_FALSE(made) << body;
    EXPECT_EQ(made.error().code, ErrorCode::bad_request) << body;
    EXPECT_FALSE(made.error().remedy.empty()) << body;
  }
}

TEST(CreateBody, ATokenDoesNotReachPastItsSandboxes) {
  for (const char* body :
       {R"({"policy":"version = 1"})", R"({"network_proxy_url":"http://127.0.0.1:3128"})",
        R"({"network_socks_url":"socks5h://127.0.0.1:1080"})", R"({"insist":["floor=169.254.169.254"]})",
        R"({"ports":["0.0.0.0:8080:80"]})", R"({"ports":["[::]:8080:80"]})", R"({"ports":["127.0.0.2:8080:80"]})",
        R"({"ports":["80:80"]})", R"({"ports":["0:80","1023:80"]})", R"({"ports":["127.0.0.1:22:80"]})"}) {
    const auto refused = parse_create(body, Making::session, kToken);
    ASSERT_FALSE(refused) << body;
    EXPECT_EQ(refused.error().code, ErrorCode::forbidden) << body;
    EXPECT_TRUE(parse_create(body, Making::session, kOwner)) << body;
  }
  for (const char* body : {R"({"ports":["8080:80","127.0.0.1:0:53/udp"]})", R"({"insist":["broad=*.com","taint"]})"}) {
    EXPECT_TRUE(parse_create(body, Making::session, kToken)) << body;
  }
}

TEST(CreateBody, AServiceNeedsItsParts) {
  const auto made = parse_create(R"({"name":"web","ports":["8080:80"],"bootstrap":"exec x","restart":"always"})",
                                 Making::service, kToken);
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_THAT(made->words, Contains("--bootstrap-file=/dev/fd/5"));
  EXPECT_EQ(made->bootstrap, "exec x");
  EXPECT_THAT(made->words, Contains("--restart=always"));
  for (const char* body : {R"({"name":"web","ports":["8080:80"]})", R"({"name":"web","bootstrap":"x"})",
                           R"({"ports":["8080:80"],"bootstrap":"x"})"}) {
    EXPECT_FALSE(parse_create(body, Making::service, kToken)) << body;
  }
}

TEST(RunBody, CommandAndArgv) {
  const auto shell = parse_run(R"({"command":"echo $HOME","timeout_seconds":0.0015,"cwd":"/tmp","env":{"A":"x\ny"}})");
  ASSERT_TRUE(shell) << shell.error().message;
  EXPECT_THAT(shell->run.argv, ElementsAre("/bin/sh", "-c", "echo $HOME"));
  EXPECT_EQ(shell->run.timeout_ms, 2u);
  const auto argv = parse_run(R"({"argv":["ls",""],"stdin":"a\u0000b","stream":true,"max_output_bytes":10})");
  ASSERT_TRUE(argv) << argv.error().message;
  EXPECT_THAT(argv->run.argv, ElementsAre("ls", ""));
  EXPECT_EQ(argv->stdin_text, std::string("a\0b", 3));
  EXPECT_TRUE(argv->stream);
  EXPECT_EQ(argv->max_output, 10u);
  const auto detached = parse_run(R"({"argv":["x"],"detach":true,"stdin":true})");
  ASSERT_TRUE(detached) << detached.error().message;
  EXPECT_TRUE(detached->run.keeps_stdin);
}

TEST(RunBody, WhatIsWrong) {
  for (const char* body :
       {"{}", R"({"command":"x","argv":["x"]})", R"({"argv":[]})", R"({"argv":[""]})", R"({"command":""})",
        R"({"command":"a\u0000b"})", R"({"argv":["x"],"cwd":"tmp"})", R"({"argv":["x"],"stream":true,"detach":true})",
        R"({"argv":["x"],"stdin":true})", R"({"argv":["x"],"detach":true,"stdin":"x"})",
        R"({"argv":["x"],"timeout_seconds":0})", R"({"argv":["x"],"timeout_seconds":"1"})",
        R"({"argv":["x"],"timeout_seconds":1e300})", R"({"argv":["x"],"max_output_bytes":0})",
        R"({"argv":["x"],"max_output_bytes":1e9})", R"({"argv":["x"],"freeze":true})",
        R"({"argv":["x"],"env":{"1":"x"}})", R"({"argv":["x"],"shell":true})"}) {
    const auto run = parse_run(body);
    ASSERT_FALSE(run) << body;
    EXPECT_EQ(run.error().code, ErrorCode::bad_request) << body;
  }
}

TEST(ExecuteBody, FilesStayBelowTheFolder) {
  const auto body = parse_execute(
      R"({"language":"python","code":"x","files":{"a/b.txt":"t","..c":""},"timeout_seconds":2,"stdin":"in"})", kToken);
  ASSERT_TRUE(body) << body.error().message;
  EXPECT_EQ(body->files.size(), 2u);
  EXPECT_EQ(body->run.run.timeout_ms, 2000u);
  for (const char* path : {"/etc/x", "../x", "a/../x", "a//b", "", ".", "a/", "./a"}) {
    const std::string text = std::string(R"({"language":"python","code":"x","files":{")") + path + "\":\"\"}}";
    EXPECT_FALSE(parse_execute(text, kToken)) << path;
  }
  EXPECT_FALSE(parse_execute(R"({"language":"python"})", kToken));
  EXPECT_FALSE(parse_execute(R"({"language":"python","code":"x","policy":""})", kToken));
  EXPECT_FALSE(parse_execute(R"({"language":"python","code":"x","name":"n"})", kToken));
}

TEST(SmallBodies, Signals) {
  EXPECT_EQ(parse_signal(R"({"signal":"TERM"})").value(), 15);
  EXPECT_EQ(parse_signal(R"({"signal":9})").value(), 9);
  for (const char* body : {"{}", R"({"signal":0})", R"({"signal":65})", R"({"signal":"NOPE"})", R"({"signal":true})",
                           R"({"signal":9,"pid":1})"}) {
    EXPECT_FALSE(parse_signal(body)) << body;
  }
}

TEST(SmallBodies, Narrowing) {
  const auto narrow = parse_narrow(R"({"network_mode":"none"})", kToken);
  ASSERT_TRUE(narrow) << narrow.error().message;
  EXPECT_EQ(narrow->op, wire::ControlRequest::Op::narrow);
  EXPECT_EQ(narrow->network_mode, "none");
  EXPECT_FALSE(parse_narrow("{}", kToken));
  EXPECT_FALSE(parse_narrow(R"({"op":"seal"})", kToken));
  EXPECT_EQ(parse_narrow(R"({"policy":"version = 1"})", kToken).error().code, ErrorCode::forbidden);
}

}  // namespace
}  // namespace weir::daemon
