#include "session/registry.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "session/client.h"
#include "sys/reactor.h"
#include "sys/unix_listener.h"

namespace weir::session {
namespace {

using wire::ErrorCode;

class Sessions : public testing::Test {
 protected:
  Sessions() {
    std::string pattern = std::string(std::filesystem::temp_directory_path()) + "/weir-registry-XXXXXX";
    state_ = ::mkdtemp(pattern.data());
    registry_ = std::make_unique<Registry>(std::move(*Registry::open(state_)));
  }
  ~Sessions() override { std::filesystem::remove_all(state_); }

  OwnFolder made(const std::string& id, const std::string& name = {}, const char* state = "running") {
    auto folder = registry_->create(id, name);
    EXPECT_TRUE(folder) << folder.error().message;
    EXPECT_TRUE(folder->write({.info = {.id = id, .name = name, .state = state, .created = "2026"}}));
    return std::move(*folder);
  }
  ErrorCode code_of_find(std::string_view who) {
    const auto found = registry_->find(who);
    EXPECT_FALSE(found) << who;
    return found ? ErrorCode::internal : found.error().code;
  }
  bool exists(const std::string& path) { return std::filesystem::exists(state_ + "/" + path); }

  std::string state_;
  std::unique_ptr<Registry> registry_;
};

TEST_F(Sessions, AreFoundByIdNameAndBeginning) {
  const OwnFolder one = made("w-11110000", "web");
  const OwnFolder two = made("w-11220000");
  for (const char* who : {"w-11110000", "web", "w-1111", "1111"})
    EXPECT_EQ(registry_->find(who)->info.id, "w-11110000") << who;
  EXPECT_EQ(code_of_find("11"), ErrorCode::conflict);
  for (const char* who : {"", "w-", "w-33", "nobody", "../web", ".lock", "w-11110001"})
    EXPECT_EQ(code_of_find(who), ErrorCode::not_found) << who;
  EXPECT_EQ(registry_->list()->size(), 2u);
  struct stat status{};
  ASSERT_EQ(::stat((state_ + "/sessions/w-11110000").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700u);
}

TEST_F(Sessions, HaveNamesOfTheirOwn) {
  {
    const OwnFolder one = made("w-11110000", "web");
    const auto second = registry_->create("w-22220000", "web");
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, ErrorCode::name_taken);
    EXPECT_FALSE(exists("sessions/w-22220000"));
    EXPECT_EQ(registry_->create("w-11110000", "").error().code, ErrorCode::conflict);
    for (const char* name : {"w-name", ".x", "a/b"})
      EXPECT_EQ(registry_->create("w-33330000", name).error().code, ErrorCode::bad_request) << name;
  }
  // Its owner is gone without a word: the name is free.
  EXPECT_TRUE(registry_->create("w-22220000", "web"));
  EXPECT_FALSE(exists("sessions/w-11110000"));
}

TEST_F(Sessions, OfKilledSupervisorsAreSwept) {
  {
    const OwnFolder one = made("w-11110000", "web");
  }
  EXPECT_TRUE(exists("names/web"));
  EXPECT_EQ(code_of_find("web"), ErrorCode::gone);
  EXPECT_EQ(code_of_find("web"), ErrorCode::not_found);
  EXPECT_FALSE(exists("names/web"));
  EXPECT_FALSE(exists("sessions/w-11110000"));
  // Killed between its making and its lock.
  std::filesystem::create_directory(state_ + "/sessions/w-22220000");
  EXPECT_TRUE(registry_->list()->empty());
  EXPECT_FALSE(exists("sessions/w-22220000"));
}

// Who cannot open a lock knows nothing about the session, and leaves it alone.
TEST_F(Sessions, AreNotSweptByWhoHasNoDescriptors) {
  const OwnFolder one = made("w-11110000", "web");
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const int next = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  ::close(next);
  for (rlim_t more = 0; more < 5; ++more) {  // each step of looking finds none
    const rlimit few{.rlim_cur = static_cast<rlim_t>(next) + more, .rlim_max = before.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
    const auto found = registry_->find("w-11110000");
    const auto listed = registry_->list();
    const auto named = registry_->create("w-22220000", "web");
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
    EXPECT_TRUE(exists("sessions/w-11110000") && exists("names/web")) << more;
    EXPECT_FALSE(named) << more;
    EXPECT_TRUE(found || found.error().code == ErrorCode::internal) << more;
    EXPECT_TRUE(!listed || listed->size() == 1) << more;
  }
  EXPECT_EQ(registry_->find("web")->info.id, "w-11110000");
}

TEST_F(Sessions, EndWithNothingLeft) {
  OwnFolder one = made("w-11110000", "web");
  std::ofstream(one.path() + "/1.out") << "x";
  one.remove();
  one.remove();
  EXPECT_FALSE(exists("names/web"));
  EXPECT_FALSE(exists("sessions/w-11110000"));
  EXPECT_EQ(code_of_find("web"), ErrorCode::not_found);
}

TEST_F(Sessions, SleepUntilTheirTimeIsOver) {
  {
    const OwnFolder one = made("w-11110000", "web", "asleep");
  }
  EXPECT_EQ(registry_->find("web")->info.state, "asleep");
  {
    auto awake = registry_->take_asleep("w-11110000");
    ASSERT_TRUE(awake);
    EXPECT_TRUE(awake->write({.info = {.id = "w-11110000", .state = "running"}}));
    EXPECT_EQ(registry_->take_asleep("w-11110000").error().code, ErrorCode::conflict);
    EXPECT_TRUE(awake->write({.info = {.id = "w-11110000", .state = "asleep"}, .expires_at = 1}));
  }
  EXPECT_EQ(code_of_find("web"), ErrorCode::gone);
  EXPECT_FALSE(exists("names/web"));
}

TEST_F(Sessions, ThatDoNotStandYetAreNoneOfAnybody) {
  const auto folder = registry_->create("w-11110000", "web");
  EXPECT_TRUE(registry_->list()->empty());
  EXPECT_EQ(code_of_find("web"), ErrorCode::unavailable);
}

TEST_F(Sessions, AFolderThatIsOpenToOthersIsNotUsed) {
  ASSERT_EQ(::chmod((state_ + "/sessions").c_str(), 0755), 0);
  EXPECT_FALSE(Registry::open(state_));
}

TEST_F(Sessions, AnswerWithLinesAndDescriptors) {
  const OwnFolder own = made("w-11110000", "web");
  sys::OwnedFd folder = *registry_->open_folder(own.id());
  const auto listener = sys::UnixListener::create_in(std::move(folder), OwnFolder::kSocket);
  ASSERT_TRUE(listener) << listener.error().what();
  auto connection = Connection::open(*registry_, "web");
  ASSERT_TRUE(connection) << connection.error().message;
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const sys::OwnedFd reader(ends[0]);
  sys::OwnedFd writer(ends[1]);
  ASSERT_TRUE(connection->send(wire::ShowSession{}, std::array{writer.get()}));
  auto accepted = listener->accept();
  ASSERT_EQ(accepted.peer, sys::UnixListener::Accepted::Peer::same_user);
  auto server = sys::LineStream::of(std::move(accepted.socket), 1000);
  const std::uint64_t soon = sys::monotonic_ms() + 5000;
  auto request = server->receive(soon);
  ASSERT_TRUE(request && *request);
  EXPECT_EQ((*request)->text, R"({"op":"show"})");
  ASSERT_EQ((*request)->passed.size(), 1u);
  EXPECT_EQ(::write((*request)->passed[0].get(), "x", 1), 1);
  // Two lines in one go, the second with a descriptor.
  ASSERT_TRUE(server->send("{\"ok\":true}\n", {}, soon));
  ASSERT_TRUE(server->send("{\"started\":{\"pid\":3}}\n", std::array{reader.get()}, soon));
  auto first = connection->receive(soon);
  ASSERT_TRUE(first && first->as<wire::Done>());
  EXPECT_TRUE(first->passed.empty());
  auto second = connection->receive(soon);
  ASSERT_TRUE(second && second->as<wire::StartedProcess>());
  EXPECT_EQ(second->passed.size(), 1u);
  EXPECT_EQ(connection->receive(sys::monotonic_ms() + 10).error().code, ErrorCode::timeout);
  ASSERT_TRUE(server->send("{\"error\":{\"code\":\"conflict\",\"message\":\"m\",\"remedy\":\"\"}}\n", {}, soon));
  EXPECT_EQ(connection->receive(soon).error().code, ErrorCode::conflict);
  server->close();
  EXPECT_EQ(connection->receive(soon).error().code, ErrorCode::gone);
}

TEST_F(Sessions, WithoutASocketAreGone) {
  const OwnFolder own = made("w-11110000", "web");
  EXPECT_EQ(Connection::open(*registry_, "web").error().code, ErrorCode::gone);
  EXPECT_EQ(Connection::open(*registry_, "other").error().code, ErrorCode::not_found);
}

TEST_F(Sessions, WhatMaySleepAndCannotBeReadStays) {
  made("w-11110000", "torn", "asleep").let_go();
  const std::string folder = registry_->path_of("w-11110000");
  std::ofstream(folder + "/plan.json") << "{}";
  std::ofstream(folder + "/session.json") << "{\"session\":";
  EXPECT_EQ(code_of_find("torn"), ErrorCode::internal);
  EXPECT_EQ(registry_->take_asleep("w-11110000").error().code, ErrorCode::internal);
  EXPECT_TRUE(registry_->list()->empty());
  EXPECT_EQ(registry_->create("w-22220000", "torn").error().code, ErrorCode::name_taken);
  EXPECT_TRUE(exists("sessions/w-11110000/plan.json"));
  auto damaged = registry_->take_damaged("torn");
  ASSERT_TRUE(damaged) << damaged.error().message;
  damaged->remove();
  EXPECT_FALSE(exists("sessions/w-11110000"));
  EXPECT_FALSE(exists("names/torn"));
}

TEST_F(Sessions, WhatCannotBeReadAndDidNotSleepIsSwept) {
  made("w-11110000").let_go();
  std::ofstream(registry_->path_of("w-11110000") + "/session.json") << "{\"session\":";
  EXPECT_EQ(code_of_find("w-11110000"), ErrorCode::gone);
  EXPECT_FALSE(exists("sessions/w-11110000"));
}

// Whoever sweeps it: the next one who lists is told, once.
TEST_F(Sessions, WhatExpiredAsleepIsToldToWhoLists) {
  OwnFolder folder = made("w-11110000");
  ASSERT_TRUE(folder.write({.info = {.id = "w-11110000", .state = "asleep", .created = "2026"}, .expires_at = 1}));
  folder.let_go();
  const auto found = registry_->find("w-11110000");
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, ErrorCode::gone);
  EXPECT_NE(found.error().message.find("its time was over"), std::string::npos);
  bool expired = false;
  ASSERT_TRUE(registry_->list(&expired));
  EXPECT_TRUE(expired);
  ASSERT_TRUE(registry_->list(&expired));
  EXPECT_FALSE(expired);
}

}  // namespace
}  // namespace weir::session
