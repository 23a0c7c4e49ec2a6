#include "supervisor/network/published_ports.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "dial/datagram_port.h"
#include "dial/published_marks.h"
#include "sys/errno.h"
#include "sys/socket_address.h"

namespace weir::supervisor {

namespace {

// As many connections may wait as the machine allows (net.core.somaxconn).
constexpr int kBacklog = 4096;

std::string text_of(const policy::Publish& publish) {
  return net::Endpoint{.address = publish.bind, .port = publish.host}.text() + "/" +
         std::string(net::name_of(publish.protocol));
}

std::string remedy_for(int code, const policy::Publish& publish) {
  switch (code) {
    case EADDRINUSE:
      return "something else on this machine has that port: end it, publish another one, or 0 for any free one";
    case EACCES:
      return "ports that low are root's: publish one from 1024 on, or sysctl net.ipv4.ip_unprivileged_port_start=" +
             std::to_string(publish.host);
    case EADDRNOTAVAIL:
      return publish.bind.text() + " is no address of this machine: ip address shows those that are";
    case EAFNOSUPPORT:
      return "this machine has no IPv6: publish on an IPv4 address";
    default:
      return "";
  }
}

Result<sys::OwnedFd> listening(const policy::Publish& publish) {
  const auto address = sys::SocketAddress::of({.address = publish.bind, .port = publish.host});
  constexpr int kType = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
  WEIR_TRY(sys::OwnedFd socket, sys::checked_fd(::socket(address.family(), kType, 0), "cannot open a socket"));
  const int on = 1;
  // [::] is every IPv6 address; 0.0.0.0 is published on its own.
  if (address.family() == AF_INET6 && ::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) != 0)
    return sys::errno_error("cannot prepare a socket");
  // Connections of the last sandbox that had the port may still be in TIME_WAIT; a listener is in use all the same.
  if (::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0)
    return sys::errno_error("cannot prepare a socket");
  if (::bind(socket.get(), address.get(), address.size) != 0) return sys::errno_error("bind");
  const linger reset_on_close{.l_onoff = 1, .l_linger = 0};
  // Inherited by what is accepted: until it ends in order, a client sees a reset.
  if (::setsockopt(socket.get(), SOL_SOCKET, SO_LINGER, &reset_on_close, sizeof reset_on_close) != 0 ||
      ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0)
    return sys::errno_error("cannot prepare a socket");
  if (::listen(socket.get(), kBacklog) != 0) return sys::errno_error("listen");
  return socket;
}

Result<sys::OwnedFd> bound(const policy::Publish& publish) {
  if (publish.protocol == net::Protocol::tcp) return listening(publish);
  return dial::bind_datagrams({.address = publish.bind, .port = publish.host});
}

Result<PublishedPort> open_published(const policy::Publish& publish) {
  auto socket = bound(publish);
  if (!socket) {
    const int code = socket.error().code();
    return std::unexpected(Error("cannot publish " + text_of(publish) + ": " + sys::errno_text(code), code)
                               .with_remedy(remedy_for(code, publish)));
  }
  sys::SocketAddress local;
  if (::getsockname(socket->get(), local.get(), &local.size) != 0)
    return sys::errno_error("cannot publish " + text_of(publish));
  const auto endpoint = local.endpoint();
  if (!endpoint) return fail("cannot publish " + text_of(publish) + ": the kernel does not say where it is bound");
  PublishedPort port{.publish = publish, .socket = std::move(*socket), .mark = {}};
  port.publish.host = endpoint->port;
  WEIR_TRY(port.mark,
           in_context(dial::mark_published(publish.protocol, *endpoint), "cannot publish " + text_of(port.publish)));
  return port;
}

}  // namespace

Result<std::vector<PublishedPort>> open_published_ports(std::span<const policy::Publish> publishes) {
  std::vector<PublishedPort> ports;
  for (const policy::Publish& publish : publishes) {
    WEIR_TRY(PublishedPort port, open_published(publish));
    ports.push_back(std::move(port));
  }
  return ports;
}

}  // namespace weir::supervisor
