// A session that starts nothing: its folder is real, and so is its socket; what it answers is the test's.
#pragma once

#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "session/registry.h"
#include "sys/line_stream.h"
#include "sys/unix_listener.h"
#include "wire/session_request.h"

namespace weir {

// A state folder of its own, which XDG_STATE_HOME names as long as it lives.
class OwnState {
 public:
  OwnState();
  ~OwnState();
  OwnState(const OwnState&) = delete;
  OwnState& operator=(const OwnState&) = delete;
  const std::string& path() const { return path_; }
  // An executable script there. -> its path
  std::string script(const std::string& name, const std::string& text) const;

 private:
  std::string path_;
};

class FakeSession {
 public:
  // Called with each request; what it sends goes to the caller, who is gone when it returns.
  using Answering =
      std::function<void(sys::LineStream&, const wire::SessionRequest&, std::vector<sys::OwnedFd> passed)>;

  FakeSession(const std::string& id, Answering answer);
  ~FakeSession();
  FakeSession(const FakeSession&) = delete;
  FakeSession& operator=(const FakeSession&) = delete;

 private:
  void serve();

  session::OwnFolder folder_;
  sys::UnixListener listener_;
  Answering answer_;
  sys::OwnedFd end_;  // readable: it is over
  std::thread thread_;
};

// Sends a line, or aborts.
void say(sys::LineStream& to, const wire::SessionReply& reply, std::vector<int> passed = {});

}  // namespace weir
