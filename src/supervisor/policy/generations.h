// The policy of a live sandbox, from one generation to the next: each narrower, each in force at once and as a whole.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "policy/text/narrow.h"
#include "supervisor/network/network.h"
#include "supervisor/policy/control_socket.h"
#include "supervisor/record/audit_log.h"

namespace weir::supervisor {

class Generations {
 public:
  struct Change {
    std::uint64_t generation = 0;
    std::string policy;  // its hash
    std::size_t cut = 0;
    std::vector<std::string> warnings;
    bool recorded = true;
  };
  // Called once, now or later. After an error the policy is what it was.
  using OnDone = std::function<void(Result<Change>)>;
  // Whoever is told that a policy could not be entered that must be: the sandbox ends.
  using OnFailure = std::function<void(Error)>;

  // Why the policy became narrower, for the record (`cause`, `path` of policy.update).
  struct Cause {
    std::string_view name;
    std::string path = {};
  };
  static constexpr std::string_view kControl = "control";
  static constexpr std::string_view kSeal = "seal";
  static constexpr std::string_view kDescriptor = "descriptor";
  static constexpr std::string_view kSensitive = "sensitive";

  // Which requests are understood: all of them, or that of `weir seal` alone.
  enum class Door : std::uint8_t { control, seal };

  // Both must outlive it. `after`: what enter_after() puts inside, if there is such a thing.
  Generations(Network& network, AuditLog& log, std::optional<policy::Narrowing> after, OnFailure on_failure,
              PolicyStage begin)
      : network_(network),
        log_(log),
        generation_(begin.generation),
        after_(std::move(after)),
        on_failure_(std::move(on_failure)),
        state_(begin.entered_after ? After::entered : After::ahead),
        confirmed_{
            .generation = begin.generation, .policy = std::string(network.policy().hash()), .cut = 0, .warnings = {}} {}

  // Recorded (policy.update), then in force, all before this returns; `on_done` when the gateway has followed. Where it
  // cannot be recorded a warning says so.
  void narrow(const policy::Narrowing& by, OnDone on_done);

  // The [after] of the policy, once; `on_done` when it holds, also in the gateway, and at once when it did before. What
  // stands in its way ends the sandbox (`on_failure`), and `on_done` is not called then: nobody goes on without it.
  void enter_after(const Cause& cause, OnDone on_done);

  // Hears of each policy when it is in force, whoever asked for it; `done`, once, when that is followed, with how many
  // flows were cut. Whoever asked is told when all have.
  using Follower = std::function<void(const policy::Image& now, Network::OnTaken done)>;
  void follow_with(Follower follower) { follower_ = std::move(follower); }

  // What is in force now is what is kept: from here on nothing changes, and who asks is told so.
  void close() { closed_ = true; }

  // The last change that the gateway has followed, or the policy of the start.
  const Change& confirmed() const { return confirmed_; }

  // The last change, whether or not the gateway has followed.
  PolicyStage stage() const { return {.generation = generation_, .entered_after = state_ != After::ahead}; }

  // A line of a socket.
  void serve(Door door, const wire::ControlRequest& request, const ControlSocket::Answer& answer);

 private:
  Result<Change> adopt(policy::Narrowed narrowed, const Cause& cause, std::optional<Network::Policy>& out);
  Result<> check_room(const policy::Narrowed& narrowed) const;
  void put_in_force(Change change, Network::Policy next, OnDone on_done);
  void entered(const Change& change);

  Network& network_;
  AuditLog& log_;
  std::uint64_t generation_;
  std::optional<policy::Narrowing> after_;
  OnFailure on_failure_;
  Follower follower_;
  enum class After : std::uint8_t { ahead, entering, entered };
  After state_;
  bool closed_ = false;
  std::vector<OnDone> waiting_;  // for the end of After::entering; as many as sockets may ask at a time
  Change confirmed_;             // the last one that the gateway has followed
};

// What a socket answers, newline included.
std::string reply_line_of(const Result<Generations::Change>& change);

// The first of a policy's warnings, cut where they are long: the answer and the record are one line each, whatever was
// asked for, and a line of the record fits into PIPE_BUF.
std::vector<std::string> shortened(std::vector<std::string> warnings);

// A compiled policy as a sealed memory file.
Result<std::shared_ptr<const sys::OwnedFd>> sealed_image(Bytes image);

}  // namespace weir::supervisor
