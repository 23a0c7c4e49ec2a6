// A command in a session that lives as long as somebody listens: its three streams, and how it ends.
#pragma once

#include <string>
#include <string_view>

#include "daemon/session_call.h"

namespace weir::daemon {

class AttachedRun {
 public:
  // Begins it. `client`: a socket whose end is the end of the run, or -1. Nothing of `stdin_text` is read when the
  // command does not.
  static Task<wire::Answer<AttachedRun>> start(Daemon& daemon, std::string session, const Principal& who,
                                               wire::RunProcess run, std::string stdin_text, int client);

  std::uint32_t pid() const { return pid_; }

  struct Happened {
    enum class What : std::uint8_t {
      out,     // `bytes` on standard output
      err,     // on standard error
      exited,  // `exited`; nothing follows
      gone,    // the client; nothing follows
      failed,  // `refusal`; nothing follows
    } what = What::gone;
    std::string_view bytes = {};  // until the next call
    wire::ExitedProcess exited = {};
    wire::Refusal refusal = {};
  };
  Task<Happened> next();

 private:
  enum Tag : int { kOut, kErr, kIn, kSession, kClient };
  AttachedRun(SessionCall call, Watch watch) : call_(std::move(call)), watch_(std::move(watch)) {}

  wire::Answer<> watch_all(int client);
  void feed();
  bool take(sys::OwnedFd& fd);
  std::optional<Happened> look_at_session();

  SessionCall call_;
  Watch watch_;
  sys::OwnedFd in_;
  sys::OwnedFd out_;
  sys::OwnedFd err_;
  std::uint32_t pid_ = 0;
  std::string stdin_text_;
  std::size_t fed_ = 0;
  std::string buffer_;
  std::optional<wire::ExitedProcess> exited_;
  std::size_t after_exit_ = 0;  // bytes of output that were taken since
};

}  // namespace weir::daemon
