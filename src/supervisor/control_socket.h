// The socket on which the owner of a live sandbox speaks to it (weir run --control).
//
// Whoever connects and is the same user writes one line (wire/control_request.h), is answered with one line, and is
// gone. Everything is bounded: how many ask at a time, how long a line is, and how long it may take to come.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>

#include "sys/reactor.h"
#include "sys/unix_listener.h"
#include "wire/control_request.h"

namespace weir::supervisor {

class ControlSocket {
 public:
  static constexpr std::size_t kMaxClients = 8;
  static constexpr std::uint64_t kPatienceMs = 10'000;  // from the connection to the end of the line

  // Called once, now or later; harmless when the asker is gone.
  using Answer = std::function<void(const wire::ControlReply&)>;
  using Handler = std::function<void(const wire::ControlRequest& request, Answer answer)>;

  // Nothing is accepted before the event loop runs. Its name is removed when it goes.
  static Result<std::unique_ptr<ControlSocket>> listen(sys::Reactor& reactor, const std::string& path, Handler handler);
  ~ControlSocket();
  ControlSocket(const ControlSocket&) = delete;
  ControlSocket& operator=(const ControlSocket&) = delete;

 private:
  struct Client;

  ControlSocket(sys::Reactor& reactor, sys::UnixListener listener, Handler handler);
  void accept();
  void read(std::uint64_t id);
  void take_line(std::uint64_t id, std::string_view line);
  void answer(std::uint64_t id, const wire::ControlReply& reply);
  void refuse(std::uint64_t id, std::string code, std::string message, std::string remedy);
  void drop(std::uint64_t id);

  sys::Reactor& reactor_;
  sys::UnixListener listener_;
  Handler handler_;
  sys::CallbackHandler on_connection_;
  std::uint64_t last_client_ = 0;
  std::unordered_map<std::uint64_t, std::unique_ptr<Client>> clients_;
};

// An Error as an answer.
wire::ControlReply refusal_of(std::string code, const Error& error);

}  // namespace weir::supervisor
