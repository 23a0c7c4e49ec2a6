// Asking a session without stopping the loop.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "daemon/daemon.h"
#include "session/client.h"

namespace weir::daemon {

// One request to one session, and its replies.
class SessionCall {
 public:
  static constexpr unsigned kPatience = 30;  // seconds, for an answer that a session gives at once

  // To the session of that name or id, where `who` may see it: `not_found` otherwise, as where there is none. One that
  // is asleep is woken first, or left alone: `unavailable`.
  static Task<wire::Answer<SessionCall>> open(Daemon& daemon, std::string who_is, const Principal& who,
                                              session::Asleep asleep = session::Asleep::wake);

  // A line is taken at once or not at all: at most kMaxLine bytes.
  wire::Answer<> send(const wire::SessionRequest& request, std::vector<int> passed = {});
  wire::Answer<> send_line(std::string_view line);
  // The next reply. An error is the end of the call.
  Task<wire::Answer<session::Connection::Reply>> receive(Deadline deadline);

  // For Watch: readable when a reply or the end has come; then take() until it gives nothing.
  int fd() const { return connection_.fd(); }
  wire::Answer<> read() { return connection_.read(); }
  std::optional<wire::Answer<session::Connection::Reply>> next() { return connection_.next(); }
  const std::string& id() const { return connection_.id(); }
  // Ends it, and what is attached to it; who waits for a reply is told so.
  void close();

 private:
  // What the socket of a session takes without being read (net.core.wmem_default is 208 KiB).
  static constexpr std::size_t kMaxLine = 160u << 10;

  SessionCall(const Executor& executor, session::Connection connection)
      : connection_(std::move(connection)), waiter_(std::make_unique<Waiter>(executor, connection_.fd())) {}

  session::Connection connection_;
  std::unique_ptr<Waiter> waiter_;
};

using SessionReply = session::Connection::Reply;

// The usual one: a request, one reply.
Task<wire::Answer<SessionReply>> ask_session(Daemon& daemon, std::string who_is, const Principal& who,
                                             wire::SessionRequest request, unsigned seconds = SessionCall::kPatience,
                                             session::Asleep asleep = session::Asleep::wake);

// What it is, live or as it fell asleep: nobody is woken by a look.
Task<wire::Answer<wire::SessionInfo>> look_at_session(Daemon& daemon, std::string who_is, const Principal& who,
                                                      unsigned seconds = SessionCall::kPatience);

// Where `who` may see it: a token by its own name for it, or by its id in full. `not_found` otherwise, as where there
// is none.
wire::Answer<session::Stored> find_session(Daemon& daemon, const std::string& who_is, const Principal& who);

// What `who` calls it; may be empty.
std::string called(Daemon& daemon, const wire::SessionInfo& session, const Principal& who);

// The object of a session, without what is the machine owner's business where somebody else asks; the machine's owner
// sees whose it is.
std::string session_json(Daemon& daemon, wire::SessionInfo session, const Principal& who);

}  // namespace weir::daemon
