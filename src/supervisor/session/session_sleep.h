// An idle session falls asleep (docs/decisions/0022): its files become a snapshot that only its folder keeps, what it
// takes to wake it is written into the folder, and then, in one step, session.json says so. Whoever comes before that
// step calls it off and is served; nobody comes after it.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "policy/compiled/image.h"
#include "session/registry.h"
#include "supervisor/session/line_server.h"
#include "supervisor/session/session_options.h"
#include "supervisor/session/session_snapshots.h"

namespace weir::supervisor {

class SessionSleep {
 public:
  // What is in force at the moment of falling asleep.
  struct InForce {
    const policy::Image* policy = nullptr;  // null without a gateway
    PolicyStage stage;
    std::uint64_t sequence = 0;
    session::Stored stored;  // as session.json shall have it, but for the state
    std::string created;
    SessionSnapshots::Policy described;  // as snapshots say it
  };
  // How long it waits, with everything inside standing still, for those to go who only look.
  static constexpr std::uint64_t kPatienceMs = 2000;

  struct Ground {
    sys::Reactor& reactor;
    const SessionOptions& options;
    const session::OwnFolder& folder;
    LineServer& server;
    SessionSnapshots& snapshots;
    std::function<InForce()> in_force;
    std::function<void()> on_asleep;            // the session is to end; it is no longer to be served
    std::function<void(Error)> on_stays_awake;  // not after call_off()
    std::function<void()> on_moving;            // after call_off(): everything inside goes on
    std::function<void(Error)> on_lost;         // the session cannot be reached any more
  };
  // What it refers to outlives it.
  explicit SessionSleep(Ground ground) : ground_(std::move(ground)) {}
  ~SessionSleep() { ground_.reactor.cancel(patience_); }
  SessionSleep(const SessionSleep&) = delete;
  SessionSleep& operator=(const SessionSleep&) = delete;

  void begin();
  // Somebody wants something of it. Nothing is begun inside before on_moving.
  void call_off();
  // Nobody is connected any more.
  void on_quiet();
  // From begin() until everything inside goes on.
  bool is_under_way() const { return state_ != State::awake; }

 private:
  enum class State : std::uint8_t { awake, copying, copied, deciding, letting_go, asleep };
  void take(const wire::SessionReply& reply);
  void decide();
  Result<> write(const std::string& snapshot);
  void go_on();
  void not_begun(const Error& why);
  void stay_awake(Error why);
  void remove_marker();

  Ground ground_;
  State state_ = State::awake;
  std::string marker_;    // while a snapshot is kept by it
  std::string snapshot_;  // its id, once it was made
  sys::Reactor::TimerId patience_ = 0;
};

}  // namespace weir::supervisor
