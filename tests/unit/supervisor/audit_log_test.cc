#include "supervisor/record/audit_log.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace weir::supervisor {
namespace {

class AuditLogTest : public testing::Test {
 protected:
  AuditLogTest() {
    std::string pattern = testing::TempDir() + "/weir-audit-XXXXXX";
    folder_ = ::mkdtemp(pattern.data());
  }
  ~AuditLogTest() override {
    ::unlink(path().c_str());
    ::rmdir(folder_.c_str());
  }

  std::string path() const { return folder_ + "/events.jsonl"; }

  AuditLog open() {
    auto log = AuditLog::open({.kind = EventsSink::Kind::file, .path = path()},
                              {.sandbox = "w-1", .policy = "00", .generation = 1});
    EXPECT_TRUE(log.has_value()) << log.error().what();
    return std::move(*log);
  }

  std::vector<std::string> lines() const {
    std::ifstream file(path());
    std::vector<std::string> all;
    for (std::string line; std::getline(file, line);) all.push_back(line);
    return all;
  }

  static audit::Event refusal(const char* name, net::Port port) {
    audit::Event event;
    event.type = audit::EventType::flow_refuse;
    event.proto = "tcp";
    event.via = "tcp";
    event.name = name;
    event.dst = *net::IpAddress::parse("192.0.2.1");
    event.port = port;
    event.verdict = "refuse";
    event.reason = "no-rule";
    return event;
  }

  std::string folder_;
};

TEST_F(AuditLogTest, NumbersEventsWithoutGaps) {
  AuditLog log = open();
  for (net::Port port = 1; port <= 3; ++port) EXPECT_TRUE(log.record(refusal("a.example", port)) && log.commit());
  const auto all = lines();
  ASSERT_EQ(all.size(), 3u);
  for (std::size_t i = 0; i < all.size(); ++i)
    EXPECT_NE(all[i].find("\"seq\":" + std::to_string(i + 1) + ","), std::string::npos) << all[i];
}

TEST_F(AuditLogTest, RepeatsOfASecondBecomeOneEventWithACountAndNoDestinationIsLost) {
  sys::Reactor reactor = *sys::Reactor::create();
  AuditLog log = open();
  log.attach(reactor);
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(log.record(refusal("a.example", 443)) && log.commit());
  EXPECT_TRUE(log.record(refusal("b.example", 443)) && log.commit());
  EXPECT_EQ(lines().size(), 2u);  // the first of each at once
  log.flush_roll_ups();
  const auto all = lines();
  ASSERT_EQ(all.size(), 3u);
  EXPECT_NE(all[2].find("\"count\":4"), std::string::npos) << all[2];
  EXPECT_NE(all[2].find("a.example"), std::string::npos);
  const auto refused = log.tally().refused();
  ASSERT_EQ(refused.size(), 2u);
  EXPECT_EQ(refused[0].what, "a.example:443");
  EXPECT_EQ(refused[0].times, 5u);
}

TEST_F(AuditLogTest, AFullFileFailsLeavesNoHalfLineAndUsesNoNumber) {
  AuditLog log = open();
  ASSERT_TRUE(log.record(refusal("a.example", 443)) && log.commit());
  const std::size_t before = lines().front().size() + 1;
  rlimit old{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old), 0);
  ::signal(SIGXFSZ, SIG_IGN);
  // Room for half a line: the write comes back short.
  rlimit tight = old;
  tight.rlim_cur = before + 40;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &tight), 0);
  EXPECT_FALSE(log.record(refusal("b.example", 443)) && log.commit());
  EXPECT_FALSE(log.healthy());
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &old), 0);
  EXPECT_EQ(lines().size(), 1u);
  EXPECT_TRUE(log.record(refusal("c.example", 443)) && log.commit());
  ASSERT_EQ(lines().size(), 2u);
  EXPECT_NE(lines()[1].find("\"seq\":2,"), std::string::npos) << lines()[1];
}

TEST_F(AuditLogTest, AFileThatAnotherSandboxWritesToIsNotCut) {
  ::signal(SIGXFSZ, SIG_IGN);
  rlimit old{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old), 0);
  AuditLog log = open();
  ASSERT_TRUE(log.record(refusal("a.example", 443)) && log.commit());
  const auto size = std::filesystem::file_size(path());
  rlimit tight = old;
  tight.rlim_cur = size + 40;
  {
    const AuditLog other = open();
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &tight), 0);
    EXPECT_FALSE(log.record(refusal("b.example", 443)) && log.commit());
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &old), 0);
    EXPECT_EQ(std::filesystem::file_size(path()), size + 40);
    EXPECT_NE(log.failure().find("incomplete"), std::string::npos) << log.failure();
  }
  // The twin: alone it is cut.
  tight.rlim_cur = size + 80;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &tight), 0);
  EXPECT_FALSE(log.record(refusal("c.example", 443)) && log.commit());
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &old), 0);
  EXPECT_EQ(std::filesystem::file_size(path()), size + 40);
}

TEST_F(AuditLogTest, ABatchIsWrittenWholeOrNotAtAll) {
  AuditLog log = open();
  ASSERT_TRUE(log.record(refusal("a.example", 443)) && log.commit());
  rlimit old{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old), 0);
  ::signal(SIGXFSZ, SIG_IGN);
  rlimit tight = old;
  tight.rlim_cur = 2 * (lines().front().size() + 1) + 40;  // the second line fits, the third does not
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &tight), 0);
  EXPECT_TRUE(log.record(refusal("b.example", 443)));
  EXPECT_TRUE(log.record(refusal("c.example", 443)));
  EXPECT_EQ(lines().size(), 1u) << "lines wait for commit()";
  EXPECT_FALSE(log.commit());
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &old), 0);
  EXPECT_EQ(lines().size(), 1u);
  EXPECT_TRUE(log.record(refusal("d.example", 443)) && log.commit());
  ASSERT_EQ(lines().size(), 2u);
  EXPECT_NE(lines()[1].find("\"seq\":2,"), std::string::npos) << lines()[1];
}

TEST_F(AuditLogTest, ABatchLongerThanAPipeTakesAtOnceArrivesInWholeLines) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe(ends.data()), 0);
  const sys::OwnedFd reader(ends[0]);
  {
    const sys::OwnedFd writer(ends[1]);
    auto log = AuditLog::open({.kind = EventsSink::Kind::file, .path = "/dev/fd/" + std::to_string(ends[1])},
                              {.sandbox = "w", .policy = "", .generation = 1});
    ASSERT_TRUE(log.has_value()) << log.error().what();
    for (net::Port port = 1; port <= 100; ++port) EXPECT_TRUE(log->record(refusal("a.example", port)));
    EXPECT_TRUE(log->commit());
  }
  std::string all;
  std::array<char, 4096> buffer;
  for (ssize_t count = 0; (count = ::read(reader.get(), buffer.data(), buffer.size())) > 0;)
    all.append(buffer.data(), static_cast<std::size_t>(count));
  EXPECT_EQ(std::ranges::count(all, '\n'), 100);
  EXPECT_NE(all.find("\"seq\":100,"), std::string::npos);
}

TEST_F(AuditLogTest, ARepeatOfWhatWasNeverWrittenIsNoRepeat) {
  sys::Reactor reactor = *sys::Reactor::create();
  auto log = AuditLog::open({.kind = EventsSink::Kind::file, .path = "/dev/full"},
                            {.sandbox = "w", .policy = "", .generation = 1});
  ASSERT_TRUE(log.has_value()) << log.error().what();
  log->attach(reactor);
  EXPECT_FALSE(log->record(refusal("a.example", 443)) && log->commit());
  EXPECT_FALSE(log->record(refusal("a.example", 443)) && log->commit());
  EXPECT_FALSE(log->healthy());
  // Refused they were: the summary counts them, those that waited for their second too.
  for (int i = 0; i < 3; ++i) log->record(refusal("a.example", 443));
  EXPECT_FALSE(log->commit());
  const auto refused = log->tally().refused();
  ASSERT_EQ(refused.size(), 1u);
  EXPECT_EQ(refused[0].times, 5u);
}

TEST_F(AuditLogTest, AFullDefaultFileTakesNothingMoreWhateverItsLength) {
  ::setenv("XDG_STATE_HOME", folder_.c_str(), 1);
  sys::Reactor reactor = *sys::Reactor::create();
  auto log = AuditLog::open({.kind = EventsSink::Kind::default_file, .path = {}},
                            {.sandbox = "w-1", .policy = "", .generation = 1});
  ASSERT_TRUE(log.has_value()) << log.error().what();
  log->attach(reactor);
  audit::Event large = refusal("large.example", 1);
  large.type = audit::EventType::flow_open;
  large.command = std::string(1 << 20, 'a');
  const audit::Event answered_before = refusal("early.example", 1);
  EXPECT_TRUE(log->record(answered_before) && log->commit());
  while (log->record(large)) EXPECT_TRUE(log->commit());
  EXPECT_FALSE(log->healthy());
  for (int i = 0; i < 2; ++i) EXPECT_FALSE(log->record(refusal("a.example", 443))) << "a repeat of nothing";
  EXPECT_FALSE(log->record(answered_before)) << "a repeat that cannot be written";
  log->commit();
  audit::Event end;
  end.type = audit::EventType::run_exit;
  end.run = 1;
  end.exit_code = 0;
  EXPECT_TRUE(log->record(end) && log->commit()) << "what was begun on the record ends there";
  EXPECT_FALSE(log->healthy()) << "full once is full for good";
  ::unsetenv("XDG_STATE_HOME");
  std::filesystem::remove_all(folder_ + "/weir");
}

TEST_F(AuditLogTest, AnUnwritableFileIsAnErrorWithARemedy) {
  const auto log = AuditLog::open({.kind = EventsSink::Kind::file, .path = folder_ + "/none/events"},
                                  {.sandbox = "w", .policy = "", .generation = 1});
  ASSERT_FALSE(log.has_value());
  EXPECT_NE(log.error().what().find(folder_ + "/none/events"), std::string::npos);
  EXPECT_NE(log.error().remedy().find("--events"), std::string::npos);
}

TEST_F(AuditLogTest, AGenerationBeginsBehindTheRepeatsOfTheLast) {
  sys::Reactor reactor = *sys::Reactor::create();
  AuditLog log = open();
  log.attach(reactor);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(log.record(refusal("a.example", 443)));
  log.begin_generation("11", 2);
  EXPECT_TRUE(log.record(refusal("a.example", 443)) && log.commit());
  const auto all = lines();
  ASSERT_EQ(all.size(), 3u);
  EXPECT_NE(all[1].find("\"policy\":\"00\",\"generation\":1,"), std::string::npos) << all[1];
  EXPECT_NE(all[1].find("\"count\":2"), std::string::npos) << all[1];
  EXPECT_NE(all[2].find("\"policy\":\"11\",\"generation\":2,"), std::string::npos) << all[2];
  EXPECT_NE(all[2].find("\"seq\":3,"), std::string::npos) << all[2];
}

}  // namespace
}  // namespace weir::supervisor
