// What a sandbox that lives on (Spec::lives_on) is asked for: processes, files, standing still. The supervisor's side.
//
// Init lives in the guest's world, so its word is hostile: an id must be known and wait for just that answer, and a
// descriptor is what it has to be (fstat) before anyone gets it. Anything else breaks the protocol, which ends the
// sandbox: Sandbox::on_control_readable() gives the error. A file task speaks to its own child inside over a socket of
// its own; what breaks there is the error of that task.
//
// No callback runs before the call that gives it has returned, and none after the sandbox is gone. They may call back.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "control/file_messages.h"
#include "control/init_messages.h"
#include "sys/channel.h"
#include "sys/owned_fd.h"
#include "sys/reactor.h"

namespace weir::sandbox {

class Inside {
 public:
  // Of one process or file task; never reused.
  using Id = std::uint64_t;

  // Processes that live at a time, and file tasks: each costs init a table entry and the machine a process.
  static constexpr std::size_t kMaxProcesses = 1024;
  static constexpr std::size_t kMaxFileTasks = 64;
  // Those among them that are over, but whose child was not seen to end.
  static constexpr std::size_t kMaxLeaving = 256;

  // Init, or the child of a file task, answers within microseconds; somebody who stopped it does not.
  static constexpr std::uint64_t kInitPatienceMs = 30'000;
  // For a list that was answered: who reads slowly has so long for all of it.
  static constexpr std::uint64_t kListPatienceMs = 300'000;

  struct Program {
    std::vector<std::string> argv;                         // never empty; looked up on the PATH of env
    std::vector<std::pair<std::string, std::string>> env;  // complete: nothing is inherited
    std::string workdir;                                   // absolute inside; empty: the user's home
    bool terminal = false;  // a new terminal of the sandbox's devpts, which is 0, 1 and 2; no Stdio then
    std::uint16_t rows = 24;
    std::uint16_t columns = 80;
  };
  // Become 0, 1 and 2 inside. The caller has made sure that none is a folder.
  struct Stdio {
    sys::OwnedFd in;
    sys::OwnedFd out;
    sys::OwnedFd err;
  };
  struct Begun {
    std::uint32_t pid = 0;  // as seen inside
    sys::OwnedFd terminal;  // Program::terminal: its master
  };
  struct Ended {
    int status = 0;  // as waitpid() gives it
    // Of the process and what it waited for.
    std::uint64_t user_us = 0;
    std::uint64_t system_us = 0;
    std::uint64_t max_rss_kib = 0;
    // It began, but could not be executed, or not in that folder. The status is a shell's: 127 where there is no such
    // command, 126 otherwise.
    std::optional<Error> not_executed = {};
  };
  using OnBegun = std::function<void(Result<Begun>)>;
  using OnEnded = std::function<void(Ended)>;

  // Each process leads a session and process group of its own. on_begun once; an error: it could not be begun, and
  // on_ended is not called. Otherwise on_ended once. What the process leaves behind lives on.
  Id start(const Program& program, Stdio stdio, OnBegun on_begun, OnEnded on_ended);
  // To its process group. Nothing happens once on_ended was called. `number`: 1 to 64.
  void signal(Id process, int number);
  // The size of its terminal.
  void resize(Id process, std::uint16_t rows, std::uint16_t columns);
  std::size_t processes() const;
  // What was asked for lives, or may begin yet: init may not have read of it. File tasks count that were given up, and
  // those that are done, until their child is gone.
  bool is_at_work() const;

  // One file task is one child of init, with the rights of the sandbox's user and its root, that ends with the task.
  // The user's links are followed inside; links of /proc (/proc/self/root ...) and files of the kernel never.
  struct FileTask {
    using Do = control::StartFileTask::Do;

    Do what = Do::get;
    std::string path;           // absolute inside
    std::uint32_t mode = 0644;  // put: permission bits; others are left out
    bool recursive = false;     // list, remove
  };
  struct FileAnswer {
    // get, put, stat; of the descriptor where there is one.
    std::uint64_t bytes = 0;
    std::uint32_t mode = 0;     // permission bits
    std::int64_t modified = 0;  // seconds since 1970
    control::FileType type = control::FileType::file;
    // get: the file, read-only. put: a file to write. list, tar: a pipe to read. untar, merge: a pipe to write.
    sys::OwnedFd fd;
  };
  using OnAnswer = std::function<void(Result<FileAnswer>)>;
  using OnDone = std::function<void(Result<>)>;

  // on_answer once; after an error nothing more. Then on_done once with how it ended: right away for get, stat, remove
  // and make_folder; when all was written for list (within kListPatienceMs) and tar; when all was read and stands for
  // untar and merge; after commit() or abandon() for put. A put replaces what is there whole, or leaves it as it was.
  Id files(const FileTask& task, OnAnswer on_answer, OnDone on_done);
  // Of a put that was answered: what was written is put in place.
  void commit(Id put);
  // Ends any task; of a put nothing stays. on_done gets ECANCELED, or on_answer where it was not called yet.
  void abandon(Id task);

  // Stops everything inside but init, and confirms it; `on_done` once. While it stands still nothing is started and no
  // file task begins (EBUSY). thaw() lets all go on, also what was stopped before.
  void freeze(OnDone on_done);
  void thaw();

  // For Sandbox: an order to init; the end of everything inside, for this reason.
  using Send = std::function<Result<>(const control::ToInit&, std::span<const int> passed)>;
  using Break = std::function<void(Error)>;
  Inside(sys::Reactor& reactor, Send send, Break on_broken);
  ~Inside();
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;
  // For Sandbox: what init says. False: nobody waits for it, or it is not what was waited for. `passed` is taken over
  // only with true, and is not valid where nothing came along.
  bool take(const control::FromInit& message, sys::OwnedFd& passed);

 private:
  struct Process;
  struct File;
  struct Leaving;
  // Orders for which init had no room yet.
  struct Order {
    control::ToInit order;
    std::vector<sys::OwnedFd> passed;
    std::uint64_t asked_ms = 0;
  };
  enum class Motion : std::uint8_t { moves, stopping, stopping_no_more, stands_still };

  void later(std::function<void()> action);
  sys::Reactor::TimerId after(std::uint64_t ms, std::function<void()> action);
  void tell(control::ToInit order, std::vector<sys::OwnedFd> passed = {});
  void send_waiting();
  void wait_for_end_of(const Order& sent);
  void give_up(const Order& unsent);

  Result<> check_room(std::size_t there, std::size_t most, const char* what) const;
  Result<> begin(Id id, const Program& program, Stdio stdio);
  bool take(const control::ProcessStarted& started, sys::OwnedFd& passed);
  bool take(const control::ProcessFailed& failed);
  bool take(const control::ProcessNotExecuted& refused);
  bool take(const control::ProcessExited& exited);
  bool take_standstill(Result<> how);

  Result<> begin(Id id, const FileTask& task, std::unique_ptr<File> file);
  void on_file_message(Id id);
  bool take(File& file, const control::FromFileTask& message, sys::OwnedFd passed);
  Result<FileAnswer> checked(File& file, const control::FileAnswered& answered, sys::OwnedFd passed);
  void watch_deadline(File& file, std::uint64_t patience_ms = kInitPatienceMs);
  void watch_end(File& file);
  std::unique_ptr<File> remove(Id id);
  void see_off(Id id, sys::Channel channel);
  void end_when_tidied(Id put);
  void finish(Id id, Result<> how);

  sys::Reactor& reactor_;
  Send send_;
  Break on_broken_;
  Id last_id_ = 0;
  std::map<Id, Process> processes_;
  std::map<Id, std::unique_ptr<File>> files_;
  std::map<Id, std::unique_ptr<Leaving>> leaving_;
  std::deque<Order> waiting_;
  Motion motion_ = Motion::moves;
  OnDone on_still_;
  sys::Reactor::TimerId still_deadline_ = 0;
  std::vector<sys::OwnedFd> unsafe_to_close_;  // before the sandbox is dead
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace weir::sandbox
