// The policy of a live sandbox, from one generation to the next: each narrower, each in force at once and as a whole.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "policy/text/narrow.h"
#include "supervisor/audit_log.h"
#include "supervisor/control_socket.h"
#include "supervisor/network.h"

namespace weir::supervisor {

class Generations {
 public:
  struct Change {
    std::uint64_t generation = 0;
    std::string policy;  // its hash
    std::size_t cut = 0;
    std::vector<std::string> warnings;
  };
  // Called once, now or later. After an error the policy is what it was.
  using OnDone = std::function<void(Result<Change>)>;

  // Both must outlive it.
  Generations(Network& network, AuditLog& log) : network_(network), log_(log) {}

  // Recorded (policy.update), then in force, all before this returns; `on_done` when the gateway has followed. What
  // cannot be recorded does not happen.
  void narrow(const policy::Narrowing& by, OnDone on_done);

  // A line of the control socket.
  void serve(const wire::ControlRequest& request, const ControlSocket::Answer& answer);

 private:
  Result<Change> adopt(const policy::Narrowing& by, std::optional<Network::Policy>& out);
  Change now() const;

  Network& network_;
  AuditLog& log_;
  std::uint64_t generation_ = 1;
};

// A compiled policy as a sealed memory file.
Result<std::shared_ptr<const sys::OwnedFd>> sealed_image(Bytes image);

}  // namespace weir::supervisor
