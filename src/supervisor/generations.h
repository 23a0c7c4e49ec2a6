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

  // `network` and `log` must outlive it. `after`: the [after] of the policy, if it has one.
  Generations(Network& network, AuditLog& log, std::optional<policy::Narrowing> after)
      : network_(network), log_(log), after_(std::move(after)) {}

  // Recorded (policy.update), then in force, all before this returns; `on_done` when the gateway has followed. `cause`:
  // as in the event. What cannot be recorded does not happen.
  void narrow(const policy::Narrowing& by, policy::Wider wider, const std::string& cause, OnDone on_done);

  // Enters [after], whatever has been narrowed meanwhile. Once: from then on it only confirms, when the gateway has
  // followed.
  void seal(const std::string& cause, OnDone on_done);

  // A line of the control socket.
  void serve(const wire::ControlRequest& request, const ControlSocket::Answer& answer);

 private:
  Result<Change> adopt(const policy::Narrowing& by, policy::Wider wider, const std::string& cause,
                       std::optional<Network::Policy>& out);
  Change now() const;
  void sealed(const Result<Change>& change);

  enum class Seal : std::uint8_t { open, closing, closed };

  Network& network_;
  AuditLog& log_;
  std::optional<policy::Narrowing> after_;
  std::uint64_t generation_ = 1;
  Seal seal_ = Seal::open;
  std::vector<OnDone> waiting_;  // for the seal, behind the one who asked first
};

// A compiled policy as a sealed memory file.
Result<std::shared_ptr<const sys::OwnedFd>> sealed_image(Bytes image);

}  // namespace weir::supervisor
