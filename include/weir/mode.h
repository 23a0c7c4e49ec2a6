// What the network of a sandbox is (docs/policy.md).
#pragma once

namespace weir {

enum class Mode {
  None,         // its own loopback
  Inbound,      // the same, plus published ports, which lead in
  Allowlist,    // what is allowed by name
  Public,       // every globally reachable address, nothing private
  Semitrusted,  // the same on TCP 80 and 443 only, with limits
  Open,         // everything but what is denied and the hard floor
};

}  // namespace weir
