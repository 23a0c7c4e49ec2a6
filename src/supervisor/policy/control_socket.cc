#include "supervisor/policy/control_socket.h"

namespace weir::supervisor {

wire::ControlReply refusal_of(std::string code, const Error& error) {
  return {.refused =
              wire::ControlReply::Refusal{.code = std::move(code), .message = error.what(), .remedy = error.remedy()}};
}

Result<std::unique_ptr<ControlSocket>> ControlSocket::listen(sys::Reactor& reactor, const std::string& path,
                                                             Handler handler) {
  WEIR_TRY(sys::UnixListener listener, sys::UnixListener::create(path));
  std::unique_ptr<ControlSocket> self(new ControlSocket(std::move(handler)));
  WEIR_TRY(self->server_,
           LineServer::serve(reactor, std::move(listener),
                             {.max_clients = kMaxClients, .max_line = wire::ControlRequest::kMaxLine}, *self));
  return self;
}

void ControlSocket::on_line(LineServer::ClientId client, std::uint64_t number, sys::LineStream::Line line) {
  if (number > 1) return;  // the answer to the first is on its way
  if (!line.passed.empty() || server_->has_more(client)) {
    const Error error = Error("something comes with the line").with_remedy("connect once for each request");
    return answer(client, refusal_of("malformed", error));
  }
  const auto request = wire::parse_control_request(line.text);
  if (!request) return answer(client, refusal_of("malformed", request.error()));
  handler_(*request, [this, client](const wire::ControlReply& reply) { answer(client, reply); });
}

std::string ControlSocket::line_of(LineServer::Trouble trouble) {
  const auto line = [](const char* code, const char* what, const char* remedy) {
    return wire::control_reply_line(refusal_of(code, Error(what).with_remedy(remedy)));
  };
  switch (trouble) {
    case LineServer::Trouble::another_user:
      return line("forbidden", "this sandbox is another user's, or who asks is in one",
                  "ask as the user who started it");
    case LineServer::Trouble::too_many:
      return line("busy", "too many ask at the same time", "ask again in a moment");
    case LineServer::Trouble::too_late:
      return line("timeout", "the line did not come to its end within 10 s", "end it with a newline");
    case LineServer::Trouble::no_end:
      return line("incomplete", "the line has no end", "end it with a newline");
    case LineServer::Trouble::too_large:
      return line("too_large", "the line is longer than 1 MiB", "write a shorter policy");
  }
  return {};
}

void ControlSocket::answer(LineServer::ClientId client, const wire::ControlReply& reply) {
  server_->finish(client, wire::control_reply_line(reply));
}

}  // namespace weir::supervisor
