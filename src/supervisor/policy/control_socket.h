// The socket on which the owner of a live sandbox speaks to it (weir run --control).
//
// Whoever connects writes one line (wire/control_request.h), is answered with one line, and is gone.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "supervisor/session/line_server.h"
#include "wire/control_request.h"

namespace weir::supervisor {

class ControlSocket : private LineServer::Owner {
 public:
  static constexpr std::size_t kMaxClients = 8;

  // Called once, now or later; harmless when the asker is gone.
  using Answer = std::function<void(const wire::ControlReply&)>;
  using Handler = std::function<void(const wire::ControlRequest& request, Answer answer)>;

  // As LineServer::serve(); it goes with its answers.
  static Result<std::unique_ptr<ControlSocket>> listen(sys::Reactor& reactor, const std::string& path, Handler handler);

 private:
  explicit ControlSocket(Handler handler) : handler_(std::move(handler)) {}
  void on_line(LineServer::ClientId client, std::uint64_t number, sys::LineStream::Line line) override;
  void on_end(LineServer::ClientId) override {}  // it still reads its answer, or does not
  std::string line_of(LineServer::Trouble trouble) override;
  void answer(LineServer::ClientId client, const wire::ControlReply& reply);

  Handler handler_;
  std::unique_ptr<LineServer> server_;
};

// An Error as an answer.
wire::ControlReply refusal_of(std::string code, const Error& error);

}  // namespace weir::supervisor
