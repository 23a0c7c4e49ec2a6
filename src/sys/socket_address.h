// Endpoints as the kernel spells them.
#pragma once

#include <sys/socket.h>

#include <optional>

#include "net/ip_address.h"

namespace weir::sys {

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = sizeof(sockaddr_storage);

  static SocketAddress of(const net::Endpoint& endpoint);

  // nullopt for families other than IPv4 and IPv6. A mapped address comes back as IPv4.
  std::optional<net::Endpoint> endpoint() const;

  int family() const { return storage.ss_family; }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};

}  // namespace weir::sys
