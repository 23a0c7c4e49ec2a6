// How the supervisors of a machine tell each other which ports lead into a sandbox, without a file and without a
// daemon.
//
// Whoever publishes a port holds an abstract unix socket whose name says so; it is gone when its holder is, however
// that dies. Whoever is about to dial an address of this machine asks for the name. Others on the machine can make such
// names too: all they get is that sandboxes are refused a port. Abstract names belong to a network namespace, as ports
// do, and sandboxes have their own.
#pragma once

#include "base/error.h"
#include "net/ip_address.h"
#include "sys/owned_fd.h"

namespace weir::dial {

// Marks a port that was bound; `at.address` may be the unspecified one, for every address. For as long as the
// descriptor is open.
Result<sys::OwnedFd> mark_published(net::Protocol protocol, const net::Endpoint& at);

// Whether a published port is behind this address of this machine. True also when it cannot be found out.
bool leads_to_published(net::Protocol protocol, const net::Endpoint& to);

}  // namespace weir::dial
