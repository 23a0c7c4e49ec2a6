// The caller's terminal, and the way between it and a sandbox's own (-t).
#pragma once

#include <termios.h>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>

#include "base/error.h"
#include "sys/child_process.h"
#include "sys/owned_fd.h"
#include "sys/reactor.h"

namespace weir::sandbox {

// The status flags (O_NONBLOCK, O_APPEND, O_ASYNC) of descriptors 0, 1 and 2. The caller's shell has the same open
// files, and so does a command without -t, which may set what it likes.
class StatusFlags {
 public:
  // As they are now.
  static StatusFlags now();
  // Sets those that differ from what they were.
  void put_back() const;

 private:
  std::array<int, 3> flags_{};  // -1: not open
};

// Remembers the modes of the caller's terminal and brings them back when it dies, on a terminal that takes output: one
// that was stopped (^S) would hold up whoever writes to it next. A small child process does so when this process is
// killed, and then puts back the status flags as well. With -t the terminal is put into raw mode meanwhile; without,
// the command may have set what it likes, and it is brought back only while the caller's job is in front of the
// terminal.
class TerminalKeeper {
 public:
  enum class Mode : std::uint8_t { as_is, raw };

  // `fd` is used as long as the keeper lives. Nothing when it is no terminal: then there is nothing to keep.
  // Nor, in mode as_is, when the caller's job is in the background or descriptor 1 is no terminal: then it is
  // another's.
  static Result<std::optional<TerminalKeeper>> keep(int fd, Mode mode);

  TerminalKeeper(TerminalKeeper&& other) noexcept;
  TerminalKeeper& operator=(TerminalKeeper&&) = delete;
  ~TerminalKeeper();

  // Before this process is stopped: the modes as they were. The ones the terminal has now return with resume(), as soon
  // as the caller's job is in front again.
  void suspend();
  void resume();

 private:
  TerminalKeeper(int fd, const termios& modes, Mode mode, sys::OwnedFd alive, sys::ChildProcess guard)
      : fd_(fd), modes_(modes), mode_(mode), alive_(std::move(alive)), guard_(std::move(guard)) {}

  int fd_;  // -1: moved from
  termios modes_;
  std::optional<termios> suspended_;  // what resume() brings back
  Mode mode_;
  sys::OwnedFd alive_;  // closes with this process, however it ends; the guard reads the other end
  sys::ChildProcess guard_;
};

// Carries bytes between the master of a sandbox's terminal and two descriptors of the caller, as events of the loop.
// Buffers are bounded: what one side does not take, the other side waits with. Never blocks, but on files of a file
// system that does.
class TerminalPump {
 public:
  // `master`, `in` and `out` stay the caller's and must live as long as the pump. The end of `in` is typed as ^D, twice
  // where it ends within a line: the first then only sends the line. One that cannot be opened a second time (a socket,
  // another user's terminal) gets O_NONBLOCK, and keeps it: StatusFlags put it back.
  static Result<std::unique_ptr<TerminalPump>> start(sys::Reactor& reactor, int master, int in, int out);
  ~TerminalPump();
  TerminalPump(const TerminalPump&) = delete;
  TerminalPump& operator=(const TerminalPump&) = delete;

  // After the command has ended: writes what it printed last, and gives up on an output that takes nothing for ten
  // seconds.
  void drain();

 private:
  // Large enough for a screen, small enough to forget.
  static constexpr std::size_t kBuffer = 16 * 1024;

  // Bytes read from one side and not yet taken by the other.
  struct Buffer {
    std::array<char, kBuffer> bytes;
    std::size_t begin = 0;
    std::size_t end = 0;
    bool empty() const { return begin == end; }
    // Returns read()'s result.
    ssize_t fill(int fd);
    // False: the other side is gone.
    bool empty_into(int fd);
  };

  TerminalPump(sys::Reactor& reactor, int master, int in, int out);
  Result<> watch_all();
  void on_in();
  void on_master(std::uint32_t events);
  void on_out();
  void read_master();
  void update();

  sys::Reactor& reactor_;
  int master_;
  sys::OwnedFd in_;
  sys::OwnedFd out_;
  Buffer typed_;    // in -> master
  Buffer printed_;  // master -> out
  sys::CallbackHandler on_in_;
  sys::CallbackHandler on_master_;
  sys::CallbackHandler on_out_;
  bool in_open_ = true;
  bool within_line_ = false;  // the last byte of `in` so far ended no line
  bool master_open_ = true;
  bool in_watched_ = false;
  bool out_watched_ = false;
};

}  // namespace weir::sandbox
