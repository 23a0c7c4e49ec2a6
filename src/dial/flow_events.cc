#include "dial/flow_events.h"

namespace weir::dial {

std::string rcode_text(std::uint16_t rcode) {
  switch (rcode) {
    case 0:
      return "NOERROR";
    case 1:
      return "FORMERR";
    case 2:
      return "SERVFAIL";
    case 3:
      return "NXDOMAIN";
    default:
      return std::to_string(rcode);
  }
}

std::string via_of(net::Protocol protocol, control::Entry entry) {
  switch (entry) {
    case control::Entry::http:
      return "http";
    case control::Entry::socks:
      return "socks";
    case control::Entry::transparent:
    case control::Entry::count_:
      break;
  }
  return std::string(net::name_of(protocol));
}

std::string via_of(control::Refused::Via via) {
  switch (via) {
    case control::Refused::Via::tcp:
      return "tcp";
    case control::Refused::Via::udp:
      return "udp";
    case control::Refused::Via::icmp:
      return "icmp";
    case control::Refused::Via::http:
      return "http";
    case control::Refused::Via::socks:
      return "socks";
    case control::Refused::Via::other:
    case control::Refused::Via::count_:
      break;
  }
  return "other";
}

audit::Event flow_event(audit::EventType type, net::Protocol protocol, control::Entry entry,
                        const net::Endpoint& destination, const std::string& name) {
  audit::Event event;
  event.type = type;
  event.proto = net::name_of(protocol);
  event.via = via_of(protocol, entry);
  event.name = name;
  event.dst = destination.address;
  if (protocol != net::Protocol::icmp) event.port = destination.port;
  return event;
}

}  // namespace weir::dial
