// Two connected kernel sockets and the bytes between them.
//
// Theory of operation. Each leg is watched edge-triggered for everything, once, so a running flow costs no epoll_ctl.
// What an edge told is remembered (`readable`, `writable`) until a call says EAGAIN, or a read comes back short: what
// arrives later is a new edge. (After the peer's end, and where urgent data cuts reads short, only EAGAIN counts.) A
// direction moves with recv/send through one buffer that all flows share; what the receiver did not take is kept in the
// direction (`pending`, at most one buffer) and nothing more is read until it is gone: back-pressure is the kernel's. A
// direction that fills the buffer kBulkReads times in a row goes on with splice through a borrowed pipe until a splice
// finds little; it gives the pipe back whenever its source is empty. End of stream is passed on per direction
// (shutdown), in one segment with the last bytes if both are here. The death of this process, and every abnormal end,
// must reach both peers as a reset: SO_LINGER{1,0} stands on both legs from birth and is cleared only before an orderly
// close.
//
// Nothing is read that a limit of the policy does not let pass (Allowance): a direction over its rate waits for a
// timer, one whose quota is used up ends the flow when it has more.
//
// A held flow (Gate): bytes of the guest go to the gate first, which says how many may pass.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "control/gateway_messages.h"
#include "gateway/meter.h"
#include "gateway/tcp/pipe_pool.h"
#include "sys/reactor.h"

namespace weir::gateway {

// Judges what the guest sends, in order, before it goes upstream.
class Gate {
 public:
  enum class Decision : std::uint8_t {
    need_more,  // nothing may pass yet; feed more
    waiting,    // a question is under way; gate_answered() of the relay follows
    pass,       // `count` bytes of what was fed so far may pass, then feed on
    open,       // everything may pass from here on; the gate is done
    refuse,     // reset both legs
  };
  struct Step {
    Decision decision = Decision::need_more;
    std::size_t count = 0;
  };

  virtual ~Gate() = default;
  // `held`: all bytes that were received and have not passed. Called again with the same bytes when more happens.
  virtual Step judge(Bytes held) = 0;
  // The guest has closed its direction; `held` will not grow.
  virtual Step judge_end(Bytes held) = 0;
  // The supervisor answered the gate's question; judge() is called next.
  virtual void on_answer(const control::FlightAnswer& answer) = 0;
  // What the server sends, in order, before the guest gets it; of a stream in bulk only its beginning (two buffers of
  // the relay at least). True: judge() may say something new of the same bytes.
  virtual bool on_reply(Bytes) { return false; }
};

// An orderly close of `socket` sends what is queued, then FIN.
void clear_linger(int socket);

// What all relays of a gateway share, whoever opened them.
struct RelayContext {
  static constexpr std::size_t kBuffer = 64 * 1024;
  static constexpr std::uint64_t kLongestSweepMs = 30'000;  // between two looks for idle ones
  // Unjudged bytes of all held flows together: 4 KiB for each of the most flows there may be. The gates' readers keep
  // up to three times as much. A flow beyond it ends with ENOBUFS.
  static constexpr std::size_t kMaxHeld = 32 << 20;

  sys::Reactor& reactor;
  PipePool pipes;
  std::size_t held = 0;
  std::vector<std::uint8_t> buffer = std::vector<std::uint8_t>(kBuffer);
};

class Relay {
 public:
  struct End {
    std::uint64_t bytes_up = 0;
    std::uint64_t bytes_down = 0;
    int error = 0;                              // errno that ended the flow; 0 for an orderly end
    std::optional<policy::Limit> used_up = {};  // the quota that ended it (EDQUOT)
  };
  using OnEnd = std::function<void(Relay&, const End&)>;

  // Both sockets connected, non-blocking, lingering {1,0}. `meter`: whose limits hold. `gate` may be null. on_end is
  // called exactly once, from the event loop; the owner then retires the relay.
  Relay(RelayContext& context, Meter& meter, sys::OwnedFd guest, sys::OwnedFd upstream, std::unique_ptr<Gate> gate,
        OnEnd on_end);
  ~Relay();
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;

  // Bytes that the guest sent before the relay was there; to the limits they are as if they came now. Once, before
  // start().
  void begin_with(Bytes received);
  Result<> start();
  // The supervisor's answer for the gate's question; nothing happens if the gate is gone.
  void gate_answered(const control::FlightAnswer& answer);
  // Resets both legs; `error` goes into the record.
  void abort(int error);
  // The guest's processes are gone: the flow ends as soon as what they sent has gone up.
  void drain();

  std::uint64_t last_activity_ms() const { return last_activity_ms_; }

 private:
  struct Leg : sys::EventHandler {
    Leg(Relay& owner, sys::OwnedFd socket) : relay(owner), fd(std::move(socket)) {}
    void on_events(std::uint32_t events) override;

    Relay& relay;
    sys::OwnedFd fd;
    bool readable = false;  // the watch begins with an edge for what is there already
    bool writable = true;
    bool thorough = false;  // a short read does not mean that there is no more
    bool closed = false;    // the peer's end has arrived: all that it will ever send is here
  };
  struct Direction {
    Direction(Leg& from, Leg& to, Meter& meter, Way way) : source(from), sink(to), allowance(meter, way) {}

    Leg& source;
    Leg& sink;
    Allowance allowance;
    sys::Reactor::TimerId turn = 0;     // when a rate lets it go on
    std::vector<std::uint8_t> pending;  // received, not yet taken by the sink
    std::size_t pending_offset = 0;
    std::optional<Pipe> pipe;
    std::size_t in_pipe = 0;
    std::uint64_t bytes = 0;
    unsigned full_reads = 0;
    bool source_ended = false;
    bool sink_shut = false;
  };
  enum class Progress : std::uint8_t { stuck, budget_spent, failed };

  void run();
  Progress pump(Direction& direction);
  bool flush(Direction& direction);
  std::size_t room(Direction& direction);
  void wait_for_turn(Direction& direction, std::uint64_t wait_ms);
  void look_for_end(Direction& direction, policy::Limit limit);
  ssize_t take_early(std::size_t most);
  bool move_by_copy(Direction& direction, std::size_t most);
  bool move_by_splice(Direction& direction, std::size_t most);
  bool drain_pipe(Direction& direction);
  bool deliver(Direction& direction, Bytes bytes);
  bool run_gate();
  bool receive_held();
  void release_held(std::size_t count);
  void continue_later();
  bool apply(Gate::Step step);
  void return_pipe(Direction& direction);
  bool source_failed(Direction& direction);
  void pass_end(Direction& direction);
  void finish(int error);

  RelayContext& context_;
  Leg guest_;
  Leg upstream_;
  Direction up_;
  Direction down_;
  std::unique_ptr<Gate> gate_;
  std::vector<std::uint8_t> early_;  // received before the relay was there, not yet read by it
  std::vector<std::uint8_t> held_;
  OnEnd on_end_;
  std::uint64_t last_activity_ms_;
  sys::Reactor::TimerId continuation_ = 0;
  int error_ = 0;
  std::optional<policy::Limit> used_up_;
  bool draining_ = false;
  bool ended_ = false;
};

}  // namespace weir::gateway
