// Words of the record: what the messages of a gateway are called in events.
#pragma once

#include <cstdint>
#include <string>

#include "audit/event.h"
#include "control/gateway_messages.h"
#include "net/ip_address.h"

namespace weir::dial {

// "NOERROR", "NXDOMAIN", ...; the number of one without a name here.
std::string rcode_text(std::uint16_t rcode);

// The field `via`: the proxy by which it came, or the protocol.
std::string via_of(net::Protocol protocol, control::Entry entry);
std::string via_of(control::Refused::Via via);

// About a flow to `destination`. `name`: under which it was judged; may be empty.
audit::Event flow_event(audit::EventType type, net::Protocol protocol, control::Entry entry,
                        const net::Endpoint& destination, const std::string& name);

}  // namespace weir::dial
