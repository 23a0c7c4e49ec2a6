// One connection to one session: a request, and the replies to it (docs/decisions/0018).
//
// What fails is a Refusal, whether the session says so or cannot be reached; `gone`: it ended before it answered.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "session/registry.h"
#include "sys/line_stream.h"
#include "sys/unix_listener.h"
#include "wire/session_reply.h"
#include "wire/session_request.h"

namespace weir::session {

// For deadlines: as long as it takes.
inline constexpr std::uint64_t kNoDeadline = std::numeric_limits<std::uint64_t>::max();

// What becomes of one that is asleep: woken first (wake.h), or left alone: `unavailable`.
enum class Asleep : std::uint8_t { wake, leave };

struct Reach {
  sys::WhenFull when_full = sys::WhenFull::wait;
  Asleep asleep = Asleep::wake;
};

class Connection {
 public:
  // A reply never is a Refusal: that is the error of the Answer.
  struct Reply {
    wire::SessionReply reply;
    std::string text;  // the line as it came, without its newline
    std::vector<sys::OwnedFd> passed;

    // As what it is expected to be; null where the session says something else.
    template <class Kind>
    const Kind* as() const {
      return std::get_if<Kind>(&reply);
    }
  };

  // To the session of that id, name, or beginning of an id. Codes as Registry::find(), those of wake(), and `too_many`
  // where it would have to wait (so many do already, or the session is about to fall asleep), and `how` says that it
  // does not.
  static wire::Answer<Connection> open(const Registry& registry, std::string_view who, Reach how = {});

  // Once; the connection stays open for what belongs to the request. `passed` (at most 3) are duplicated.
  wire::Answer<> send(const wire::SessionRequest& request, std::span<const int> passed = {});
  // The same with a line, newline included: what somebody else has put together, or a second line of a request.
  wire::Answer<> send_line(std::string_view line, std::span<const int> passed = {});

  // The next reply, waited for until `deadline_ms` (sys::monotonic_ms()); code `timeout` when none came.
  wire::Answer<Reply> receive(std::uint64_t deadline_ms = kNoDeadline);

  // For event loops: fd() is readable when read() has something to take; then next() gives replies until it gives
  // nothing. An error of read() or next() is the end of the connection.
  int fd() const { return stream_.fd(); }
  wire::Answer<> read();
  std::optional<wire::Answer<Reply>> next();

  // The session's id.
  const std::string& id() const { return id_; }
  // Ends it; what is attached to it ends too.
  void close() { stream_.close(); }

 private:
  Connection(std::string id, sys::LineStream stream) : id_(std::move(id)), stream_(std::move(stream)) {}
  std::unexpected<wire::Refusal> gone() const;
  std::unexpected<wire::Refusal> failed(const Error& error) const;
  static wire::Answer<std::optional<Connection>> try_open(const Registry& registry, const Stored& stored, Reach how);
  wire::Answer<Reply> reply_of(sys::LineStream::Line line) const;

  std::string id_;
  sys::LineStream stream_;
  bool closed_ = false;  // the session sends nothing more
};

// A request with one reply, for who waits: connects, asks, takes the reply.
wire::Answer<Connection::Reply> ask(const Registry& registry, std::string_view who, const wire::SessionRequest& request,
                                    std::uint64_t deadline_ms = kNoDeadline, Reach how = {});

}  // namespace weir::session
