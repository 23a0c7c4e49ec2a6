// What supervisor and init (pid 1 of a sandbox) say to each other, over a SOCK_SEQPACKET pair.
//
// Order: Begin goes down once the id maps are written, Execute once the record is open; init builds the sandbox in
// between. Init sends, each at most once and in this order, ListenerMade and TunMade (captured networks), RootMade
// (limits that are watched), NamespaceMade (published ports), SealMade (a policy with
// an [after]), WrittenMade (a sandbox that lives on), TerminalMade (-t), and exactly one of Started, Failed;
// only Failed may come before Execute went down. After Started only one of Exited and NotExecuted may follow, once; and
// for each OpenSocket, once, SocketMade or SocketFailed. Init lives in the guest's world, so everything after Started
// is hostile input: a message out of order ends the sandbox.
//
// A sandbox that lives on has no command: after Started, for each StartProcess, once, ProcessStarted (and later, once,
// ProcessExited), ProcessNotExecuted or ProcessFailed; for each Freeze, once, StandsStill or Moves. What a
// StartFileTask begins speaks for itself over the socket that goes with the order (file_messages.h).
#pragma once

#include <cstdint>
#include <string>
#include <variant>

#include "control/codec.h"

namespace weir::control {

// The next four carry one descriptor each: the capture's listener, its TUN, the root folder (for asking how full it
// is), the master of the terminal.
struct ListenerMade {
  template <class Self, class Visitor>
  static void fields(Self&, Visitor&) {}
};
struct TunMade {
  template <class Self, class Visitor>
  static void fields(Self&, Visitor&) {}
};
struct RootMade {
  template <class Self, class Visitor>
  static void fields(Self&, Visitor&) {}
};
struct TerminalMade {
  template <class Self, class Visitor>
  static void fields(Self&, Visitor&) {}
};

// With one descriptor: the folder in which an overlay keeps what the command writes. Once for each such share, before
// Started, and only where the spec asks for it.
struct LayerMade {
  std::uint32_t share = 0;  // place in Spec::shares
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit(self.share);
  }
};

// Carries the folder that everything outside of shares is written into, as a read-only mount of its own with nothing
// mounted below: the private root, or the upper layer of a root made of layers. Of a sandbox that lives on.
struct WrittenMade {
  template <class Self, class Visitor>
  static void fields(Self&, Visitor&) {}
};

// Carries a socket of the sandbox's network namespace, which tells it from every other. Made before the command.
struct NamespaceMade {
  template <class Self, class Visitor>
  static void fields(Self&, Visitor&) {}
};

// Carries a stream: the supervisor's end of what the command has as WEIR_SEAL.
struct SealMade {
  template <class Self, class Visitor>
  static void fields(Self&, Visitor&) {}
};

// Said before execve(): whatever the command does, this was there first.
struct Started {
  template <class Self, class Visitor>
  static void fields(Self&, Visitor&) {}
};

// Everything stands, but execve() refused the command.
struct NotExecuted {
  std::uint32_t code = 0;  // errno
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit(self.code);
  }
};

// The sandbox could not be set up.
struct Failed {
  std::uint32_t code = 0;  // errno, 0: none
  std::string what;
  std::string remedy;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit(self.code);
    visit(self.what);
    visit(self.remedy);
  }
};

// The command ended. Init ends right after, and with it every process of the sandbox.
struct Exited {
  std::uint32_t status = 0;  // as waitpid() gives it
  std::uint64_t user_us = 0;
  std::uint64_t system_us = 0;
  std::uint64_t max_rss_kib = 0;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit(self.status);
    visit(self.user_us);
    visit(self.system_us);
    visit(self.max_rss_kib);
  }
};

// What OpenSocket asked for, the socket riding along; it may still be connecting.
struct SocketMade {
  std::uint64_t id = 0;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit(self.id);
  }
};

struct SocketFailed {
  std::uint64_t id = 0;
  std::uint32_t code = 0;  // errno
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit(self.id);
    visit(self.code);
  }
};

// With the terminal's master as its descriptor, where one was asked for.
struct ProcessStarted {
  std::uint64_t id = 0;
  std::uint32_t pid = 0;  // inside
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit(self.id);
    visit(self.pid);
  }
};

// There is no process.
struct ProcessFailed {
  std::uint64_t id = 0;
  std::uint32_t code = 0;  // errno, 0: none
  std::string what;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit(self.id);
    visit(self.code);
    visit(self.what);
  }
};

// There was one for a moment.
struct ProcessNotExecuted {
  enum class Step : std::uint8_t { folder, filter, program, count_ };

  std::uint64_t id = 0;
  std::uint32_t pid = 0;
  Step step = Step::program;  // what was refused: the working folder, the filter of system calls, execve()
  std::uint32_t code = 0;     // errno
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit(self.id);
    visit(self.pid);
    visit(self.step);
    visit(self.code);
  }
};

struct ProcessExited {
  std::uint64_t id = 0;
  Exited how;  // of this process and what it waited for
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit(self.id);
    Exited::fields(self.how, visit);
  }
};

// Nothing inside runs but init.
struct StandsStill {
  template <class Self, class Visitor>
  static void fields(Self&, Visitor&) {}
};

// Something goes on, so everything does.
struct Moves {
  std::uint32_t pid = 0;  // what did not stop; 0: it could not be found out
  std::uint32_t code = 0;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit(self.pid);
    visit(self.code);
  }
};

using FromInit = std::variant<ListenerMade, TunMade, TerminalMade, Started, NotExecuted, Failed, Exited, RootMade,
                              LayerMade, NamespaceMade, SocketMade, SocketFailed, SealMade, ProcessStarted,
                              ProcessFailed, ProcessNotExecuted, ProcessExited, StandsStill, Moves, WrittenMade>;

struct Begin {
  template <class Self, class Visitor>
  static void fields(Self&, Visitor&) {}
};

// The command may start.
struct Execute {
  template <class Self, class Visitor>
  static void fields(Self&, Visitor&) {}
};

// For the command and everything in its process group.
struct SendSignal {
  std::uint8_t number = 0;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit(self.number);
  }
};

// A socket in the sandbox's network, connected to a port of its own loopback, please.
struct OpenSocket {
  enum class Kind : std::uint8_t { stream, datagram, count_ };

  std::uint64_t id = 0;
  Kind kind = Kind::stream;
  net::Endpoint to;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit(self.id);
    visit(self.kind);
    visit(self.to);
  }
};

// A process of its own session and group, please. Descriptors: a sealed memory file with its texts (texts.h): the
// working folder or nothing, `arguments` arguments, and the environment; then 0, 1 and 2, unless it gets a terminal.
struct StartProcess {
  std::uint64_t id = 0;
  std::uint32_t arguments = 0;
  bool terminal = false;
  std::uint16_t rows = 0;
  std::uint16_t columns = 0;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit(self.id);
    visit(self.arguments);
    visit(self.terminal);
    visit(self.rows);
    visit(self.columns);
  }
};

// For a process and everything in its group. One that has ended does not mind.
struct SignalProcess {
  std::uint64_t id = 0;
  std::uint8_t number = 0;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit(self.id);
    visit(self.number);
  }
};

// A child that does one thing to files. Descriptors: a sealed memory file with the path (texts.h); the child's end of
// the socket it answers on; for list, tar, untar and merge its end of a pipe.
struct StartFileTask {
  enum class Do : std::uint8_t { get, put, list, stat, remove, make_folder, tar, untar, merge, count_ };

  std::uint64_t id = 0;
  Do what = Do::get;
  std::uint32_t mode = 0;
  bool recursive = false;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit(self.id);
    visit(self.what);
    visit(self.mode);
    visit(self.recursive);
  }
};

// SIGKILL, if it is still there.
struct EndFileTask {
  std::uint64_t id = 0;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit(self.id);
  }
};

struct Freeze {
  template <class Self, class Visitor>
  static void fields(Self&, Visitor&) {}
};
struct Thaw {
  template <class Self, class Visitor>
  static void fields(Self&, Visitor&) {}
};

using ToInit = std::variant<Begin, Execute, SendSignal, OpenSocket, StartProcess, SignalProcess, StartFileTask,
                            EndFileTask, Freeze, Thaw>;

}  // namespace weir::control
