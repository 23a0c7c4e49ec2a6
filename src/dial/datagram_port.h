// A published UDP port on this machine: who spoke, and a socket that is connected to them and to nobody else.
//
// The port's own socket is never connected and never sent from. A client gets a socket that is bound to the same port
// and connected to it; from then on the kernel gives that socket what the client sends (udp(7), SO_REUSEPORT). Nothing
// here reads what a datagram says.
#pragma once

#include <cstdint>

#include "base/error.h"
#include "net/ip_address.h"
#include "sys/owned_fd.h"
#include "sys/socket_address.h"

namespace weir::dial {

// Non-blocking, and alone on its port: EADDRINUSE where anybody else has it, also somebody who asked to share it. The
// error's code is an errno. Needs no privilege but for ports below net.ipv4.ip_unprivileged_port_start.
Result<sys::OwnedFd> bind_datagrams(const net::Endpoint& at);

// Of a port that is bound to every address (`every`): one more socket for what is sent to this address of them, which
// from here on is found there. Only beside such a one can clients' sockets be made without losing anything.
Result<sys::OwnedFd> bind_beside(int every, const sys::SocketAddress& local);

// Who sent a datagram, and to which address of this machine.
struct Sender {
  sys::SocketAddress client;
  sys::SocketAddress local;

  // Of a link-local client, whose address means nothing without it: the interface. 0 for others.
  std::uint32_t link() const;
};

// What waits first at a port.
struct Head {
  // nobody: it cannot be answered (it was sent to a group of machines, or says that it comes from port 0 or from the
  // port itself).
  enum class State : std::uint8_t { nothing, someone, nobody };

  State state = State::nothing;
  Sender sender = {};
};

// It stays where it is.
Head look(int port);
// Drops what look() saw.
void drop_head(int port);

// Bound to the address that the client spoke to, connected to the client, non-blocking. Whoever else speaks meanwhile
// is found at the port as before, and never in this socket: it takes nothing but what comes from that client, by a
// filter that cannot be removed. For a moment another socket of this user, if it asks for that, could be bound to the
// port. `every`: the one that `port` is beside, or -1. The error's code is an errno.
Result<sys::OwnedFd> connected_to(const Sender& sender, int port, int every = -1);

}  // namespace weir::dial
