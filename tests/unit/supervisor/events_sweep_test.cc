#include "supervisor/record/events_sweep.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>

#include "supervisor/record/audit_log.h"
#include "sys/owned_fd.h"

namespace weir::supervisor {
namespace {

constexpr std::time_t kNow = 1'800'000'000;
constexpr std::time_t kDay = 24 * 3600;

class EventsSweep : public testing::Test {
 protected:
  EventsSweep() {
    std::string pattern = testing::TempDir() + "/weir-sweep-XXXXXX";
    folder_ = ::mkdtemp(pattern.data());
  }
  ~EventsSweep() override { std::filesystem::remove_all(folder_); }

  std::string path(const std::string& name) const { return folder_ + "/" + name; }

  // A file last written `days` before kNow.
  void put(const std::string& name, int days) const {
    std::ofstream(path(name)) << "{}\n";
    const timespec at{.tv_sec = kNow - days * kDay, .tv_nsec = 0};
    const timespec times[] = {at, at};
    ASSERT_EQ(::utimensat(AT_FDCWD, path(name).c_str(), times, 0), 0);
  }

  std::set<std::string> names() const {
    std::set<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(folder_)) found.insert(entry.path().filename());
    return found;
  }

  std::string folder_;
};

TEST_F(EventsSweep, KeepsTheNewestAndTheYoung) {
  put("w-00000001.jsonl", 1);
  put("w-00000002.jsonl", 29);
  put("w-00000003.jsonl", 31);
  put("w-00000004.jsonl", 400);
  sweep_events(folder_, kNow, {.always = 3});
  EXPECT_EQ(names(), (std::set<std::string>{"w-00000001.jsonl", "w-00000002.jsonl", "w-00000003.jsonl"}));
  sweep_events(folder_, kNow, {.always = 0});
  EXPECT_EQ(names(), (std::set<std::string>{"w-00000001.jsonl", "w-00000002.jsonl"}));
}

TEST_F(EventsSweep, HasABound) {
  put("w-00000001.jsonl", 1);
  put("w-00000002.jsonl", 2);
  put("w-00000003.jsonl", 3);
  sweep_events(folder_, kNow, {.always = 1, .at_most = 2});
  EXPECT_EQ(names(), (std::set<std::string>{"w-00000001.jsonl", "w-00000002.jsonl"}));
}

TEST_F(EventsSweep, TouchesNothingElse) {
  put("mine.jsonl", 400);
  put("w-notes.txt", 400);
  std::filesystem::create_directory(path("w-folder.jsonl"));
  put("elsewhere", 400);
  std::filesystem::create_symlink(path("elsewhere"), path("w-link.jsonl"));
  const auto before = names();
  sweep_events(folder_, kNow, {.always = 0});
  EXPECT_EQ(names(), before);
}

TEST_F(EventsSweep, KeepsWhatIsBeingWritten) {
  put("w-00000001.jsonl", 400);
  put("w-00000002.jsonl", 400);
  {
    const sys::OwnedFd writer(::open(path("w-00000001.jsonl").c_str(), O_WRONLY | O_CLOEXEC));
    mark_as_written(writer.get());
    sweep_events(folder_, kNow, {.always = 0});
    EXPECT_EQ(names(), (std::set<std::string>{"w-00000001.jsonl"}));
  }
  sweep_events(folder_, kNow, {.always = 0});
  EXPECT_TRUE(names().empty());
}

TEST_F(EventsSweep, AFolderThatIsNotThereIsNoMatter) {
  sweep_events(folder_ + "/none", kNow);
}

// XDG_STATE_HOME for the length of a test.
class StateHome {
 public:
  explicit StateHome(const std::string& folder) { ::setenv("XDG_STATE_HOME", folder.c_str(), 1); }
  StateHome(const StateHome&) = delete;
  StateHome& operator=(const StateHome&) = delete;
  ~StateHome() { ::unsetenv("XDG_STATE_HOME"); }
};

Result<AuditLog> open_default(const char* id) {
  return AuditLog::open({.kind = EventsSink::Kind::default_file, .path = {}},
                        {.sandbox = id, .policy = "00", .generation = 1});
}

TEST_F(EventsSweep, OneSandboxOf256SweepsWhenItStarts) {
  const StateHome home(folder_);
  ASSERT_TRUE(open_default("w-00000001"));  // makes the folder
  folder_ += "/weir/events";
  constexpr int kOld = 300;
  for (int i = 0; i < kOld; ++i) put("w-old" + std::to_string(i) + ".jsonl", 10'000);
  ASSERT_TRUE(open_default("w-00000002"));
  EXPECT_EQ(names().size(), kOld + 2u);
  ASSERT_TRUE(open_default("w-00000100"));
  EXPECT_EQ(names().size(), KeptRecords{}.always);
  EXPECT_TRUE(names().contains("w-00000100.jsonl"));
}

TEST_F(EventsSweep, TheRecordOfAnotherSandboxIsNotContinued) {
  const StateHome home(folder_);
  ASSERT_TRUE(open_default("w-00000001"));
  const auto again = open_default("w-00000001");
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code(), EEXIST);
  // A file that the user named is: so it says in the reference.
  const EventsSink named{.kind = EventsSink::Kind::file, .path = folder_ + "/weir/events/w-00000001.jsonl"};
  EXPECT_TRUE(AuditLog::open(named, {.sandbox = "w-2", .policy = "00", .generation = 1}));
}

}  // namespace
}  // namespace weir::supervisor
