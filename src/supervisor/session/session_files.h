// Files of a live session, for its owner. Nothing outside resolves a path: each task is one of init's children.
#pragma once

#include <cstdint>
#include <map>

#include "sandbox/living/inside.h"
#include "supervisor/session/line_server.h"
#include "wire/session_request.h"

namespace weir::supervisor {

class SessionFiles {
 public:
  using ClientId = LineServer::ClientId;

  // Both outlive it.
  SessionFiles(LineServer& server, sandbox::Inside& inside) : server_(server), inside_(inside) {}

  // Answers the client, now or later.
  void serve(ClientId client, const wire::FileRequest& request);
  // Somebody reads or writes.
  bool is_busy() const { return !tasks_.empty(); }
  static bool changes_files(const wire::FileRequest& request);
  // A second line. False: none is waited for.
  bool take_line(ClientId client, const sys::LineStream::Line& line);
  // The client is gone, or says no more: of what it began and did not end nothing stays.
  void client_ended(ClientId client);

 private:
  struct Task {
    sandbox::Inside::Id id = 0;
    wire::FileRequest::Do what = wire::FileRequest::Do::get;
    enum class State : std::uint8_t { asked, open, committed } state = State::asked;
  };
  void answered(ClientId client, wire::FileRequest::Do what, Result<sandbox::Inside::FileAnswer> answer);
  void done(ClientId client, wire::FileRequest::Do what, const Result<>& how);
  void finish(ClientId client, const Error& error);

  LineServer& server_;
  sandbox::Inside& inside_;
  std::map<ClientId, Task> tasks_;
};

}  // namespace weir::supervisor
