#include "dial/published_marks.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <cstddef>
#include <cstring>

#include "sys/errno.h"

namespace weir::dial {

namespace {

struct Name {
  sockaddr_un address{};
  socklen_t size = 0;
};

// "\0weir-published/tcp/127.0.0.1:8080": 80 characters at most.
Name name_of_port(net::Protocol protocol, const net::Endpoint& at) {
  const std::string text = "weir-published/" + std::string(net::name_of(protocol)) + "/" + at.text();
  Name name;
  name.address.sun_family = AF_UNIX;
  std::memcpy(&name.address.sun_path[1], text.data(), text.size());
  name.size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + text.size());
  return name;
}

Result<sys::OwnedFd> open_socket() {
  return sys::checked_fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), "cannot open a socket");
}

// Connecting says whether the name is there, and sends nothing.
bool is_there(int socket, const Name& name) {
  return ::connect(socket, reinterpret_cast<const sockaddr*>(&name.address), name.size) == 0 || errno != ECONNREFUSED;
}

}  // namespace

Result<sys::OwnedFd> mark_published(net::Protocol protocol, const net::Endpoint& at) {
  WEIR_TRY(sys::OwnedFd socket, open_socket());
  const Name name = name_of_port(protocol, at);
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&name.address), name.size) != 0)
    return sys::errno_error("cannot mark the port as published");
  return socket;
}

bool leads_to_published(net::Protocol protocol, const net::Endpoint& to) {
  const auto socket = open_socket();
  if (!socket) return true;
  const net::IpAddress every = to.address.is_v4() ? net::IpAddress::v4({0, 0, 0, 0}) : net::IpAddress();
  return is_there(socket->get(), name_of_port(protocol, to)) ||
         is_there(socket->get(), name_of_port(protocol, {.address = every, .port = to.port}));
}

}  // namespace weir::dial
