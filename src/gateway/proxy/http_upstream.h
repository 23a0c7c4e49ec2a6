// The far end of requests in absolute form: one connection to one origin, one response at a time.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "gateway/meter.h"
#include "sys/owned_fd.h"
#include "sys/reactor.h"
#include "wire/authority.h"
#include "wire/http1_forward.h"

namespace weir::gateway {

class HttpUpstream {
 public:
  // Takes a connected socket; `meter`: whose limits hold; `on_event` is called when something can be done.
  HttpUpstream(sys::Reactor& reactor, Meter& meter, sys::OwnedFd socket, std::uint64_t flow, wire::Authority origin,
               std::function<void()> on_event);
  ~HttpUpstream();
  HttpUpstream(const HttpUpstream&) = delete;
  HttpUpstream& operator=(const HttpUpstream&) = delete;

  bool start();
  std::uint64_t flow() const { return flow_; }
  const wire::Authority& origin() const { return origin_; }
  std::uint64_t bytes_up() const { return bytes_up_; }
  std::uint64_t bytes_down() const { return bytes_down_; }
  // The errno of what went wrong with the socket; 0.
  int error() const { return error_; }
  // The quota that leaves no byte for what is to be sent or heard (EDQUOT).
  std::optional<policy::Limit> used_up() const { return used_up_; }

  // Resets the connection now. Only its counts are good for anything then.
  void abort(int error);

  // A request begins with this head.
  void begin(std::string_view method, std::string head);
  void send(Bytes bytes) { unsent_.append(as_text(bytes)); }
  // True when everything has left. What a rate holds back is called for later; what a quota does is an error().
  bool flush();

  // What one read gave, in `said`: bytes for the guest. more: read again. waiting: nothing came.
  enum class Heard : std::uint8_t { more, waiting, ended, broken };
  // `persistence`: what the guest's connection can do, as far as the request goes; a response that only the end of the
  // connection ends closes it in any case, and then closes_guest() says so.
  Heard hear(MutableBytes buffer, wire::Persistence persistence, std::string& said);
  bool closes_guest() const { return closes_guest_; }
  // Anything of the current response has been given to the guest.
  bool answered() const { return answered_; }
  bool in_head() const { return in_head_; }

  // The guest has closed its direction behind its request.
  void shut();

  // Between two requests: may another one follow? A server that says something unasked, or nothing any more, is not
  // sound.
  bool reusable() const { return !response_ && !server_closes_ && !shut_ && error_ == 0 && unsent_.empty(); }
  bool sound() const;

 private:
  // One direction, and when a rate lets it go on.
  struct Course {
    Course(Meter& meter, Way way) : allowance(meter, way) {}

    Allowance allowance;
    sys::Reactor::TimerId turn = 0;
  };

  Allowance::Room room(Course& course);
  void over(policy::Limit limit);
  ssize_t read(MutableBytes buffer);
  Heard take(Bytes bytes, wire::Persistence persistence, std::string& said);

  sys::Reactor& reactor_;
  sys::OwnedFd socket_;
  std::uint64_t flow_;
  wire::Authority origin_;
  std::function<void()> on_event_;
  sys::CallbackHandler handler_;
  Course up_;
  Course down_;
  std::optional<wire::ResponseStream> response_;
  std::string unsent_;
  std::uint64_t bytes_up_ = 0;
  std::uint64_t bytes_down_ = 0;
  int error_ = 0;
  std::optional<policy::Limit> used_up_;
  bool closes_guest_ = false;
  bool server_closes_ = false;
  bool answered_ = false;
  bool in_head_ = false;
  bool shut_ = false;
};

}  // namespace weir::gateway
