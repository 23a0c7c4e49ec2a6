// What UDP and ICMP echo have in common, and the little in which they differ: pure functions on packets.
//
// A flow of datagrams is told by its key. An echo has no ports: the guest's identifier stands for the guest's, and the
// destination's is 0. Its message, as a ping socket takes and gives it, begins with the ICMP header, whose identifier
// the kernel replaces by the socket's own.
#pragma once

// Before errqueue.h, which needs timespec and does not say so.
#include <time.h>

#include <linux/errqueue.h>

#include <optional>

#include "gateway/tcp/flow_table.h"
#include "net/ip_address.h"
#include "wire/packet.h"

namespace weir::gateway {

struct DatagramKey {
  net::Protocol protocol = net::Protocol::udp;
  FourTuple tuple;

  friend bool operator==(const DatagramKey&, const DatagramKey&) = default;
};

struct DatagramKeyHash {
  std::size_t operator()(const DatagramKey& key) const noexcept {
    return FourTupleHash()(key.tuple) ^ static_cast<std::size_t>(key.protocol);
  }
};

struct Datagram {
  DatagramKey key;
  Bytes message;  // for the host socket
};

// nullopt: neither a whole UDP datagram nor a whole echo request.
std::optional<Datagram> datagram_of(const wire::Packet& packet);

// Bytes of a message that count as the program's own.
std::size_t payload_size(net::Protocol protocol, Bytes message);

// The packet that brings the guest what its peer sent. Empty: it is none of the flow's.
Bytes packet_for_guest(const DatagramKey& key, Bytes message, MutableBytes buffer);

// What the guest is told of an error that queued in the socket. nullopt: nothing (path MTU is the host's business; what
// is not known is not invented).
std::optional<wire::Refusal> refusal_of(const sock_extended_err& error);

// The beginning of the guest's own packet that an ICMP error is about. `message`: what the kernel still had of it.
Bytes packet_of_guest(const DatagramKey& key, Bytes message, MutableBytes buffer);

}  // namespace weir::gateway
