// Connections from outside to published ports: who may come in is not asked (the port is open or it is not), how many
// may is, and each is recorded before anything of it goes on.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "dial/recorder.h"
#include "net/ip_address.h"
#include "policy/compiled/image.h"
#include "policy/compiled/verdict.h"
#include "sys/reactor.h"

namespace weir::dial {

// Who came, and where to.
struct Arrival {
  net::Protocol protocol = net::Protocol::tcp;
  net::Endpoint client;
  net::Endpoint published;  // on this machine
  net::Port guest = 0;      // inside
};

class InboundFlows {
 public:
  // Their numbers begin here, above all that a gateway gives its own; as a number of JSON they are exact.
  static constexpr std::uint64_t kFirst = std::uint64_t{1} << 48;

  InboundFlows(sys::Reactor& reactor, Recorder& recorder) : reactor_(reactor), recorder_(recorder) {}

  // Records the flow. `then` is called from the next settle(): with its number, or with 0 when it could not be
  // recorded.
  using Then = std::function<void(std::uint64_t flow)>;
  void open(const Arrival& arrival, Then then);
  // `hit`: the limit that refuses.
  void refuse(const Arrival& arrival, policy::Reason reason, std::optional<audit::Rule> rule = {},
              std::optional<audit::LimitHit> hit = {});
  // Records that these flows have reached a limit of theirs, `flow` (0: together) before the others. `hit` is the same
  // limit for the record.
  void reached(policy::Limit limit, audit::LimitHit hit, std::uint64_t flow);
  // The quota that leaves no byte for any of them.
  std::optional<policy::Limit> used_up() const { return used_up_; }
  // What was opened goes on; or, where `recorded` is false, ends unrecorded.
  enum class Written : std::uint8_t { no, yes };
  void settle(Written written);
  // Its sockets go to the gateway, which answers for it from here on. False if it ended meanwhile.
  bool pass(std::uint64_t flow);
  // All of them lost their permission by `verdict`, which the records of their ends say. Returns those that the gateway
  // has, which are open until it closes them; the others are closed.
  std::vector<std::uint64_t> cut(const policy::Verdict& verdict, const std::optional<audit::Rule>& rule);
  // Of these, how many are still open.
  std::size_t cuts_open() const { return cut_by_ ? flows_.size() : 0; }
  // Records the end. `error`: errno, 0 for an orderly one. Harmless for a flow that is not there.
  void close(std::uint64_t flow, std::uint64_t up, std::uint64_t down, int error);
  void close_all(int error);

  std::size_t size() const { return flows_.size(); }

 private:
  struct Flow {
    Arrival arrival;
    std::uint64_t opened_ms = 0;
    bool passed = false;  // the gateway has its sockets
  };
  struct Cut {
    std::string_view reason;
    std::optional<audit::Rule> rule;
  };

  sys::Reactor& reactor_;
  Recorder& recorder_;
  std::uint64_t next_ = kFirst;
  std::unordered_map<std::uint64_t, Flow> flows_;
  std::optional<policy::Limit> used_up_;
  std::vector<std::pair<std::uint64_t, Then>> opened_;  // since the last settle()
  std::optional<Cut> cut_by_;                           // why all of them were cut
};

}  // namespace weir::dial
