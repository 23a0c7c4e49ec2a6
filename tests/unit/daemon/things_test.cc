#include "daemon/things.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>

#include "daemon/command.h"
#include "daemon/making.h"

namespace weir::daemon {
namespace {

using wire::ErrorCode;

const Principal kAlice{.kind = Principal::Kind::token, .name = "alice", .rights = Principal::Rights::change};

Result<bool> unknown(const std::string&) {
  return fail("too many open files", EMFILE);
}
Result<bool> there(const std::string&) {
  return true;
}
Result<bool> gone(const std::string&) {
  return false;
}

class Things : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "/things-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
    auto registry = session::Registry::open(folder_ + "/state");
    auto store = Store::open(folder_ + "/daemon.db");
    ASSERT_TRUE(registry && store);
    daemon_.emplace(Daemon{.limits = {},
                           .weir = "/bin/sh",
                           .folder = folder_,
                           .spool = folder_,
                           .environment = {"PATH=/usr/bin:/bin"},
                           .registry = std::move(*registry),
                           .store = std::move(*store),
                           .metrics = {},
                           .memory = Budget(Budget::kParts * 1000),
                           .children = Turnstile(Limits().children),
                           .transfers = Turnstile(Limits().transfers),
                           .executor = loop_.get_executor()});
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  // A program in the place of weir.
  void put_weir(const std::string& text) {
    daemon_->weir = folder_ + "/weir";
    std::ofstream(daemon_->weir) << "#!/bin/sh\n" << text;
    ASSERT_EQ(::chmod(daemon_->weir.c_str(), 0700), 0);
  }

  template <class T>
  T outcome_of(Task<T> task) {
    std::optional<T> outcome;
    asio::co_spawn(
        loop_,
        [&]() -> Task<> {
          auto got = co_await std::move(task);
          outcome.emplace(std::move(got));
        },
        asio::detached);
    loop_.restart();
    loop_.run();
    return std::move(*outcome);
  }

  std::size_t rows() {
    const auto things = daemon_->store.things_of(Owned::session, kAlice);
    return things ? things->size() : 1000;
  }

  std::string folder_;
  asio::io_context loop_{1};
  std::optional<Daemon> daemon_;
};

TEST_F(Things, WhoCannotLookForgetsNothing) {
  ASSERT_TRUE(daemon_->store.note(Owned::session, {.id = "w-00000001", .name = "mine"}, kAlice));
  const auto kept = present_things(*daemon_, Owned::session, kAlice, unknown);
  ASSERT_TRUE(kept);
  EXPECT_EQ(kept->size(), 1u);
  EXPECT_EQ(rows(), 1u);
  EXPECT_FALSE(begin_thing(*daemon_, Owned::session, kAlice, "mine", unknown));
  EXPECT_EQ(daemon_->store.id_called(Owned::session, "mine", kAlice), "w-00000001");
  // What is known to be gone goes.
  ASSERT_TRUE(present_things(*daemon_, Owned::session, kAlice, gone));
  EXPECT_EQ(rows(), 0u);
}

TEST_F(Things, WhatHasComeIsNotWaitedForAnyMore) {
  const std::int64_t now = std::time(nullptr);
  ASSERT_TRUE(daemon_->store.note(Owned::session, {.id = "w-00000001", .begun = now}, kAlice));
  ASSERT_TRUE(present_things(*daemon_, Owned::session, kAlice, gone));
  EXPECT_EQ(rows(), 1u);
  ASSERT_TRUE(present_things(*daemon_, Owned::session, kAlice, there));
  ASSERT_TRUE(present_things(*daemon_, Owned::session, kAlice, gone));
  EXPECT_EQ(rows(), 0u);
}

TEST_F(Things, WhatACommandSaysIsWholeOrNothingIsKnown) {
  const auto run = [&](const std::string& script) {
    return outcome_of(run_command(*daemon_, kAlice, {.words = {"-c", script}}, 60));
  };
  const auto whole = run("printf hello");
  ASSERT_TRUE(whole);
  EXPECT_EQ(whole->out, "hello");
  EXPECT_EQ(run("exit 3")->exit_code, 3);
  const auto cut = run("head -c 1001 /dev/zero");
  ASSERT_FALSE(cut);
  EXPECT_EQ(cut.error().code, ErrorCode::unavailable);
  const auto killed = run("printf hello; kill -9 $$");
  ASSERT_FALSE(killed);
  EXPECT_EQ(killed.error().code, ErrorCode::unavailable);
}

TEST_F(Things, ASessionThatStandsIsItsCallersHoweverTheCommandEnds) {
  const std::string make =
      "for word; do case $word in --id=*) mkdir " + folder_ + "/state/sessions/${word#--id=};; esac; done\n";
  for (const char* end : {"kill -9 $$", "exit 1", "head -c 2000 /dev/zero", "printf nonsense"}) {
    put_weir(make + end);
    const std::size_t before = rows();
    EXPECT_FALSE(outcome_of(make_session(*daemon_, {}, kAlice))) << end;
    EXPECT_EQ(rows(), before + 1) << end;
  }
  // One that does not stand is nobody's, unless it may still come.
  const std::size_t before = rows();
  put_weir("exit 1");
  EXPECT_FALSE(outcome_of(make_session(*daemon_, {}, kAlice)));
  EXPECT_EQ(rows(), before);
  put_weir("kill -9 $$");
  EXPECT_FALSE(outcome_of(make_session(*daemon_, {}, kAlice)));
  EXPECT_EQ(rows(), before + 1);
}

TEST_F(Things, WhoCannotCountMakesNothing) {
  std::filesystem::remove_all(folder_ + "/state/sessions");
  put_weir("touch " + folder_ + "/ran; exit 1");
  const NewThing other(*daemon_, Owned::session, "w-00000009", kAlice);
  const auto refused = outcome_of(make_session(*daemon_, {}, kAlice));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::too_many);
  EXPECT_FALSE(std::filesystem::exists(folder_ + "/ran"));
}

}  // namespace
}  // namespace weir::daemon
