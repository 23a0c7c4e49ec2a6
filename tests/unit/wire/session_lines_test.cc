#include <gtest/gtest.h>

#include "wire/session_reply.h"
#include "wire/session_request.h"
#include "wire/signal_names.h"

namespace weir::wire {
namespace {

TEST(SessionRequest, SaysWhatIsWanted) {
  const auto run = parse_session_request(
      R"({"op":"run","argv":["make","test"],"env":{"A":"1"},"cwd":"/srv","timeout_ms":5,"detach":true,"stdin":true})");
  ASSERT_TRUE(run) << run.error().what();
  const auto& process = std::get<RunProcess>(*run);
  EXPECT_EQ(process.argv, (std::vector<std::string>{"make", "test"}));
  EXPECT_EQ(process.env, (std::vector<std::pair<std::string, std::string>>{{"A", "1"}}));
  EXPECT_EQ(process.timeout_ms, 5u);
  EXPECT_TRUE(process.detach && process.keeps_stdin);
  const auto shell = parse_session_request(R"({"op":"run","command":"exit 3"})");
  EXPECT_EQ(std::get<RunProcess>(*shell).argv, (std::vector<std::string>{"/bin/sh", "-c", "exit 3"}));
  EXPECT_EQ(std::get<SignalProcess>(*parse_session_request(R"({"op":"signal","pid":7,"signal":"TERM"})")).signal, 15);
  EXPECT_EQ(std::get<SignalProcess>(*parse_session_request(R"({"op":"signal","pid":7,"signal":9})")).signal, 9);
  EXPECT_EQ(std::get<FileRequest>(*parse_session_request(R"({"op":"file","do":"put","path":"/a","mode":493})")).mode,
            0755u);
  EXPECT_EQ(std::get<ControlRequest>(*parse_session_request(R"({"op":"narrow","network_mode":"none"})")).network_mode,
            "none");
}

TEST(SessionRequest, WhatIsWrittenIsRead) {
  const char* const rows[] = {
      R"({"op":"show"})",
      R"({"op":"processes"})",
      R"({"op":"run","argv":["a","b"],"env":{"N":"v"},"cwd":"/w","timeout_ms":9,"terminal":true,"rows":3,"columns":4})",
      R"({"op":"run","argv":["a"],"network_mode":"none","freeze":true,"keep_files":true})",
      R"({"op":"run","argv":["a"],"detach":true,"stdin":true})",
      R"({"op":"signal","pid":4,"signal":15})",
      R"({"op":"stdin","pid":4,"close":true})",
      R"({"op":"output","pid":4,"follow":true})",
      R"({"op":"resize","pid":4,"rows":1,"columns":2})",
      R"({"op":"file","do":"delete","path":"/x","recursive":true})",
      R"({"op":"file","do":"put","path":"/x","mode":420})",
      R"({"op":"narrow","network_mode":"none"})",
      R"({"op":"seal"})",
      R"({"op":"snapshot","name":"s","labels":{"k":"v"}})",
      R"({"op":"stop","kill":true})",
  };
  for (const char* const row : rows) {
    const auto request = parse_session_request(row);
    ASSERT_TRUE(request) << row << request.error().what();
    EXPECT_EQ(session_request_line(*request), std::string(row) + "\n");
  }
}

TEST(SessionRequest, WhatIsNotExactlyThatIsRefused) {
  const char* const rows[] = {
      "",
      "{",
      "[]",
      "{}",
      R"({"op":1})",
      R"({"op":"Show"})",
      R"({"op":"show","x":1})",
      R"({"op":"show"} x)",
      R"({"op":"run"})",
      R"({"op":"run","argv":[]})",
      R"({"op":"run","argv":[""]})",
      R"({"op":"run","argv":"ls"})",
      R"({"op":"run","argv":["a"],"command":"b"})",
      R"({"op":"run","argv":["a\u0000"]})",
      R"({"op":"run","argv":["a"],"env":{"":"x"}})",
      R"({"op":"run","argv":["a"],"env":{"A=B":"x"}})",
      R"({"op":"run","argv":["a"],"env":{"A":1}})",
      R"({"op":"run","argv":["a"],"cwd":"rel"})",
      R"({"op":"run","argv":["a"],"timeout_ms":0})",
      R"({"op":"run","argv":["a"],"timeout_ms":-1})",
      R"({"op":"run","argv":["a"],"timeout_ms":1.5})",
      R"({"op":"run","argv":["a"],"timeout_ms":99999999999999999})",
      R"({"op":"run","argv":["a"],"stdin":true})",
      R"({"op":"run","argv":["a"],"terminal":true,"detach":true})",
      R"({"op":"run","argv":["a"],"freeze":true})",
      R"({"op":"run","argv":["a"],"rows":70000})",
      R"({"op":"signal","pid":4})",
      R"({"op":"signal","pid":0,"signal":1})",
      R"({"op":"signal","pid":4,"signal":65})",
      R"({"op":"signal","pid":4,"signal":0})",
      R"({"op":"signal","pid":4,"signal":"NO"})",
      R"({"op":"signal","pid":99999999,"signal":1})",
      R"({"op":"file","do":"get"})",
      R"({"op":"file","do":"get","path":"x"})",
      R"({"op":"file","do":"exec","path":"/x"})",
      R"({"op":"file","do":"get","path":"/x","mode":1})",
      R"({"op":"file","do":"put","path":"/x","mode":65536})",
      R"({"op":"stop","kill":1})",
      R"({"op":"seal","x":1})",
      R"({"op":"narrow"})",
      R"({"op":"resize","pid":1,"rows":0,"columns":1})",
  };
  for (const char* const row : rows) EXPECT_FALSE(parse_session_request(row)) << row;
  EXPECT_FALSE(parse_session_request(std::string(ControlRequest::kMaxLine, ' ')));
  EXPECT_TRUE(parse_commit(R"({"commit": true})"));
  for (const char* const row : {"", "{}", R"({"commit":false})", R"({"commit":true,"x":1})", R"({"commit":1})"})
    EXPECT_FALSE(parse_commit(row)) << row;
}

TEST(SessionReply, WhatIsWrittenIsRead) {
  SessionInfo session{.id = "w-00000001", .name = "n", .state = "running", .created = "2026-01-01T00:00:00Z"};
  session.labels = {{"k", "v"}};
  session.ports = {"127.0.0.1:8080:80"};
  session.limits.memory_bytes = 5;
  session.usage.flows = 2;
  session.service = ServiceInfo{.bootstrap = "b", .restart = "always", .restarts = 3, .health = "healthy", .pid = 7};
  ExitedProcess exited{.exit_code = 137, .signal = 9, .duration_ms = 4};
  exited.refused = {{.destination = "a:1", .reason = "no-rule", .times = 2}};
  exited.limits = {"memory"};
  const SessionReply rows[] = {
      Refusal{.code = ErrorCode::gone, .message = "m", .remedy = "r"},
      session,
      StartedProcess{.pid = 4},
      exited,
      ProcessList{.processes = {{.pid = 2, .argv0 = "sh", .detached = true, .exited = exited, .stdout_bytes = 9}}},
      Done{},
      OutputInfo{.stdout_bytes = 1, .truncated = true},
      FileInfo{.bytes = 3, .mode = 0644, .modified = -4, .type = "file"},
      Narrowed{.generation = 2, .policy = "h", .cut = 1, .warnings = {"w"}},
      SnapshotInfo{.json = R"({"id":"s"})"},
  };
  for (const SessionReply& row : rows) {
    const std::string line = session_reply_line(row);
    ASSERT_TRUE(line.ends_with('\n'));
    const auto read = parse_session_reply(std::string_view(line).substr(0, line.size() - 1));
    ASSERT_TRUE(read) << line << read.error().what();
    EXPECT_EQ(read->index(), row.index()) << line;
    EXPECT_EQ(session_reply_line(*read), line);
  }
  for (const char* const row : {"", "{}", "[]", R"({"started":1})", R"({"exited":{"exit_code":"0"}})"})
    EXPECT_FALSE(parse_session_reply(row)) << row;
}

TEST(SessionError, EveryCodeHasOneName) {
  for (int i = 0; i <= static_cast<int>(ErrorCode::internal); ++i) {
    const auto code = static_cast<ErrorCode>(i);
    EXPECT_EQ(error_code_of(name_of(code)), code);
  }
  EXPECT_EQ(name_of(ErrorCode::bad_request), "bad_request");
  EXPECT_EQ(name_of(ErrorCode::internal), "internal");
  EXPECT_EQ(name_of(ErrorCode::snapshot_not_found), "snapshot_not_found");
  EXPECT_FALSE(error_code_of("nonsense"));
}

TEST(SignalNames, GoBothWays) {
  EXPECT_EQ(signal_number("KILL"), 9);
  EXPECT_EQ(signal_number("SIGSYS"), 31);
  EXPECT_EQ(signal_name(2), "INT");
  EXPECT_EQ(signal_name(40), "40");
  for (const char* const row : {"", "0", "65", "-1", "kill", "9x"}) EXPECT_FALSE(signal_number(row)) << row;
}

}  // namespace
}  // namespace weir::wire
