// The C++ library: the words that it starts a session with, and what it makes of what the session says.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>

#include "fake_session_runner.h"
#include "weir/weir.h"

namespace weir {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string everything_of(int fd) {
  std::string text;
  std::array<char, 4096> buffer;
  for (ssize_t got = 0; (got = ::read(fd, buffer.data(), buffer.size())) > 0;) {
    text.append(buffer.data(), static_cast<std::size_t>(got));
  }
  return text;
}

TEST(SandboxBuilder, SaysWhatTheCommandLineSays) {
  const auto words = SandboxBuilder()
                         .network(Mode::Allowlist)
                         .allow("pypi.org")
                         .deny("-x.example")
                         .port(8080, 80)
                         .port_udp(53, 53)
                         .publish("[::1]:0:443")
                         .mount("/src", "/work", Share::ReadOnly)
                         .mount("/a b", "/c")
                         .image("debian:12")
                         .workdir("/work")
                         .env("A", "x=y")
                         .memory("512M")
                         .cpus(1.5)
                         .processes(256)
                         .disk("1G")
                         .name("n")
                         .label("k", "v")
                         .lives(std::chrono::hours(1))
                         .program("/opt/weir")
                         .command_line();
  ASSERT_TRUE(words);
  EXPECT_THAT(*words, ElementsAre("/opt/weir", "session", "create", "--output=json", "--idle=86400s", "--net=allowlist",
                                  "--allow=pypi.org", "--deny=-x.example", "--publish=8080:80", "--publish=53:53/udp",
                                  "--publish=[::1]:0:443", "--volume=/src:/work:ro", "--volume=/a b:/c",
                                  "--image=debian:12", "--workdir=/work", "--env=A=x=y", "--memory=512M", "--cpus=1.50",
                                  "--pids=256", "--disk=1G", "--name=n", "--label=k=v", "--ttl=3600s"));
}

TEST(SandboxBuilder, RefusesWhatNoCommandLineCanSay) {
  const auto code_of = [](const SandboxBuilder& builder) {
    const auto words = builder.command_line();
    return words ? "none" : words.error().code;
  };
  EXPECT_EQ(code_of(SandboxBuilder().program("/w").mount("/a:ro", "/b")), "bad_request");
  EXPECT_EQ(code_of(SandboxBuilder().program("/w").mount("/a", "b")), "bad_request");
  EXPECT_EQ(code_of(SandboxBuilder().program("/w").env("A=B", "c")), "bad_request");
  EXPECT_EQ(code_of(SandboxBuilder().program("/w").allow(std::string("a\0b", 3))), "bad_request");
  EXPECT_EQ(code_of(SandboxBuilder().program("/w").mount("/a", "/b")), "none");
}

class Started : public testing::Test {
 protected:
  static constexpr const char* kId = "w-0123abcd";

  // A `weir` that says that this session stands.
  std::string weir_that_says_so() const {
    wire::SessionInfo info;
    info.id = kId;
    info.state = "running";
    info.created = "2026-01-01T00:00:00Z";
    info.network_mode = "none";
    info.ports = {"127.0.0.1:8080:80"};
    JsonWriter json;
    wire::write_session(json, info);
    const std::string line = json.take();
    return state_.script("weir.sh", "printf '%s\\n' \"$@\" > " + state_.path() + "/words; echo '" + line + "'\n");
  }
  Sandbox start() const {
    auto sandbox = SandboxBuilder().network(Mode::None).program(weir_that_says_so()).start();
    if (!sandbox) ADD_FAILURE() << sandbox.error().message;
    WEIR_ASSERT(sandbox);
    return std::move(*sandbox);
  }

  OwnState state_;
};

TEST_F(Started, RunsAndCollects) {
  std::string seen;
  const FakeSession session(
      kId, [&](sys::LineStream& caller, const wire::SessionRequest& request, std::vector<sys::OwnedFd> passed) {
        const auto* const run = std::get_if<wire::RunProcess>(&request);
        if (run == nullptr) return say(caller, wire::Done{});
        seen = run->argv.back() + "|" + run->network_mode + "|" + run->network_allowlist.front() + "|" +
               std::to_string(run->timeout_ms) + "|" + run->env.front().second + "|" + everything_of(passed[0].get());
        EXPECT_EQ(::write(passed[0].get(), "x", 1), -1) << "the input of a command can be written";
        EXPECT_EQ(::write(passed[1].get(), "output", 6), 6);
        EXPECT_EQ(::write(passed[2].get(), "error", 5), 5);
        // Both lines at once: the second must not be waited for.
        say(caller, wire::StartedProcess{.pid = 5});
        say(caller, wire::ExitedProcess{.exit_code = 3,
                                        .duration_ms = 7,
                                        .refused = {{.destination = "e.example:443", .reason = "no-rule", .times = 2}},
                                        .limits = {"memory"}});
      });
  const Sandbox sandbox = start();
  EXPECT_EQ(sandbox.id(), kId);
  EXPECT_THAT(sandbox.ports(), ElementsAre("127.0.0.1:8080:80"));
  const auto done = sandbox.shell("make", {.input = "in",
                                           .env = {{"A", "b"}},
                                           .timeout = std::chrono::seconds(2),
                                           .max_output = 4,
                                           .network = Mode::Allowlist,
                                           .allow = {"a.example"}});
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ(seen, "make|allowlist|a.example|2000|b|in");
  EXPECT_EQ(done->exit_code, 3);
  EXPECT_EQ(done->out + "|" + done->err, "outp|erro");
  EXPECT_TRUE(done->truncated);
  ASSERT_EQ(done->refused.size(), 1u);
  EXPECT_EQ(done->refused[0].destination, "e.example:443");
  EXPECT_THAT(done->limits, ElementsAre("memory"));
}

TEST_F(Started, SaysWhyTheSessionDoesNot) {
  const FakeSession session(
      kId, [](sys::LineStream& caller, const wire::SessionRequest& request, std::vector<sys::OwnedFd>) {
        if (std::holds_alternative<wire::StopSession>(request)) return say(caller, wire::Done{});
        say(caller, wire::Refusal{.code = wire::ErrorCode::cannot_widen, .message = "wider", .remedy = "narrower"});
      });
  const Sandbox sandbox = start();
  const auto done = sandbox.run({"true"}, {.network = Mode::Open});
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, "cannot_widen");
  EXPECT_EQ(done.error().message + done.error().remedy, "widernarrower");
  EXPECT_EQ(sandbox.run({}).error().code, "bad_request");
}

TEST_F(Started, NoticesThatASessionDiesInTheMiddle) {
  const FakeSession session(
      kId, [](sys::LineStream& caller, const wire::SessionRequest& request, std::vector<sys::OwnedFd>) {
        if (std::holds_alternative<wire::RunProcess>(request)) say(caller, wire::StartedProcess{.pid = 5});
      });
  const Sandbox sandbox = start();
  const auto done = sandbox.run({"true"});
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, "gone");
}

TEST_F(Started, PutsAndGetsFiles) {
  const std::string there = state_.path() + "/file";
  std::string second_line;
  const FakeSession session(
      kId, [&](sys::LineStream& caller, const wire::SessionRequest& request, std::vector<sys::OwnedFd>) {
        const auto* const file = std::get_if<wire::FileRequest>(&request);
        if (file == nullptr) return say(caller, wire::Done{});
        const bool put = file->what == wire::FileRequest::Do::put;
        const int fd = ::open(there.c_str(), put ? O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC : O_RDONLY | O_CLOEXEC,
                              static_cast<mode_t>(file->mode));
        ASSERT_GE(fd, 0);
        if (!put) {
          say(caller, wire::FileInfo{.bytes = 5}, {fd});
        } else {
          say(caller, wire::Done{}, {fd});
          const auto line = caller.receive(~0ull);
          second_line = line && *line ? (*line)->text : "";
          say(caller, wire::Done{});
        }
        ::close(fd);
      });
  const Sandbox sandbox = start();
  const auto put = sandbox.put("/in", std::string_view("a\0b\nc", 5), 0600);
  ASSERT_TRUE(put) << put.error().message;
  EXPECT_EQ(second_line, "{\"commit\":true}");
  const auto got = sandbox.get("/in");
  ASSERT_TRUE(got) << got.error().message;
  EXPECT_EQ(*got, std::string("a\0b\nc", 5));
  EXPECT_EQ(sandbox.get("/in", 4).error().code, "too_large");
}

TEST_F(Started, EndsWithItsHandle) {
  int stops = 0;
  const FakeSession session(
      kId, [&](sys::LineStream& caller, const wire::SessionRequest& request, std::vector<sys::OwnedFd>) {
        stops += std::holds_alternative<wire::StopSession>(request) ? 1 : 0;
        say(caller, wire::Done{});
      });
  {
    Sandbox sandbox = start();
    Sandbox moved = std::move(sandbox);
    EXPECT_EQ(stops, 0);
  }
  EXPECT_EQ(stops, 1);
  Sandbox sandbox = start();
  EXPECT_TRUE(sandbox.stop());
  EXPECT_TRUE(sandbox.stop());
  EXPECT_EQ(stops, 2);
  EXPECT_EQ(sandbox.run({"true"}).error().code, "gone");
  EXPECT_EQ(sandbox.id(), "");
}

TEST_F(Started, ASessionThatIsGoneIsStopped) {
  Sandbox sandbox = start();
  EXPECT_TRUE(sandbox.stop());
}

TEST(Start, SaysWhyThereIsNone) {
  const OwnState state;
  const auto failure = [&](const std::string& text) {
    return SandboxBuilder().program(state.script("weir.sh", text)).start().error();
  };
  const Failure refused =
      failure("echo '{\"error\":{\"code\":\"bad_policy\",\"message\":\"m\",\"remedy\":\"r\"}}'; exit 125\n");
  EXPECT_EQ(refused.code + refused.message + refused.remedy, "bad_policymr");
  EXPECT_THAT(failure("exit 3\n").message, HasSubstr("ended with 3"));
  EXPECT_EQ(SandboxBuilder().program(state.path() + "/none").start().error().code, "unavailable");
}

}  // namespace
}  // namespace weir
