// Admission on behalf of the gateway: judges, records, dials, passes the descriptor on.
//
// The gateway parses hostile bytes and is not believed: whatever it asks for goes through policy::admit() with the
// address that is dialled here. What it says about names enters the name book only for names that the policy allows and
// addresses that pass the floor, so a gateway that lies reaches public addresses on ports that a name rule names and,
// through the resolver sockets it is given, the configured name servers; nothing else.
#pragma once

#include <cstdint>
#include <functional>
#include <unordered_map>
#include <vector>

#include "control/gateway_messages.h"
#include "dial/dialer.h"
#include "dial/egress_dialer.h"
#include "dial/flow_limits.h"
#include "dial/inbound_flows.h"
#include "dial/live_facts.h"
#include "dial/recorder.h"
#include "policy/compiled/admit.h"
#include "policy/compiled/image.h"
#include "policy/compiled/name_book.h"
#include "policy/compiled/stand_in.h"

namespace weir::dial {

class Admission {
 public:
  // `passed` rides along; the receiver duplicates it.
  using Send = std::function<void(const control::ToGateway& message, sys::OwnedFd passed)>;

  // Flows of one sandbox that may exist at the same time whatever the policy says: two descriptors each in the gateway.
  static constexpr std::size_t kMaxFlows = 8192;

  struct Settings {
    std::vector<net::Endpoint> resolvers;  // upstream name servers, in order
    // What host.weir.internal leads to inside; it stands for the loopback of the host.
    net::IpAddress host4;
    net::IpAddress host6;
    // Proxies of the user's own: with any, nothing is connected to but through them, and no name is resolved.
    std::vector<EgressRoute> egress = {};
    // Two descriptors each: what the machine's limit leaves room for.
    std::uint64_t flows_possible = kMaxFlows;
  };

  Admission(sys::Reactor& reactor, policy::Image image, LiveFacts facts, Recorder& recorder, Settings settings,
            Send send);
  ~Admission();
  Admission(const Admission&) = delete;
  Admission& operator=(const Admission&) = delete;

  // Judges and records. What follows from a record happens in settle().
  void handle(const control::FromGateway& message);
  // Writes the records of everything that was handled since the last time, then dials. Call before answers are sent.
  void settle();

  // From here on `image` decides, which must be narrower: flows and pairs of the name book that it does not allow are
  // cut. Those that the gateway has are asked for with Cut; cuts_open() falls to 0 when all of them have been reported
  // as closed. Call after settle(): what was recorded before is dialled by the policy that allowed it.
  // Returns how many flows were cut.
  std::size_t narrow(policy::Image image);
  std::size_t cuts_open() const;

  // Somebody came to a published port. No way out, so no rule is asked: refused only where there are too many flows
  // already (or clients of UDP), or where the sandbox was narrowed to none. `then`: see InboundFlows; 0 for a refusal,
  // which is recorded.
  void open_inbound(const Arrival& arrival, InboundFlows::Then then);
  // Whether it would be refused now; if so, that is recorded.
  bool turn_away(const Arrival& arrival);
  // It cannot be answered (out of descriptors, no way back).
  void refuse_inbound(const Arrival& arrival) { inbound_.refuse(arrival, policy::Reason::limit); }
  // The flow of a client that has sent a datagram before, while that flow lasts.
  std::optional<std::uint64_t> inbound_flow_of(const Arrival& arrival) const { return inbound_.flow_of(arrival); }
  // It ended before it got to the gateway, which reports the others.
  void close_inbound(std::uint64_t flow, int error) { inbound_.close(flow, 0, 0, error); }
  // Its sockets go to the gateway now. False if it lost its permission meanwhile, which is recorded.
  bool pass_inbound(std::uint64_t flow) { return inbound_.pass(flow); }

  // Nothing is dialled any more and no proxy is spoken to, but for what was admitted before, which is dialled now.
  // Until go_on() nothing may be handled; who waits for a turn waits on.
  void suspend();
  void go_on();

  // From here on every new connection is refused (shutting-down).
  void refuse_new() { ending_ = true; }
  // The sandbox has ended: records the end of flows whose end nobody reported, and writes it.
  void end();

  Result<bool> ipv6_upstream() { return facts_.ipv6_default_route(); }
  // In both directions.
  std::size_t flow_count() const { return flows_.size() + inbound_.size(); }
  // There are never more of them, and later never more than now.
  std::uint64_t max_flows() const { return limits_.max_flows(); }
  std::size_t resolver_count() const { return settings_.resolvers.size(); }
  bool has_egress() const { return !settings_.egress.empty(); }
  const policy::Image& image() const { return image_; }
  std::uint64_t limit(policy::Limit limit) const { return image_.limits()[limit]; }
  std::uint64_t connect_timeout_ms() const;
  // Clients of published UDP ports that there may be at a time: their addresses may be forged, so others have room
  // whatever they do.
  std::size_t datagram_clients() const;

 private:
  static constexpr net::Port kDnsPort = 53;
  // Connects to resolvers and destinations under way at a time: a descriptor each in this process.
  static constexpr std::size_t kMaxDials = 8192;

  // Under which a flow was judged, kept for as long as it lives: the book may forget them sooner.
  struct KnownName {
    net::DomainName name;
    std::vector<net::DomainName> aliases;
  };
  struct Flow {
    net::Protocol protocol = net::Protocol::tcp;
    net::Endpoint destination;  // as the guest asked
    net::Endpoint dialled;
    control::Entry entry = control::Entry::transparent;
    std::optional<net::DomainName> asked_name;  // by an explicit proxy: the only candidate
    std::string name;
    std::uint64_t opened_ms = 0;
    Dialer::Id dial = 0;                             // cancelled with the flow: no dial outlives its count
    std::optional<net::DomainName> stands_for = {};  // what is dialled is this name
    bool passed = false;                             // the gateway has its socket; of TCP without it: in the making
    // What allowed it, to be asked again when the policy is narrowed.
    std::vector<KnownName> names = {};
    bool nameless_candidate = true;
    bool held = false;
    std::vector<policy::FirstFlight> flights = {};  // that were allowed to pass, each once
    bool cut = false;
    policy::Verdict cut_by = {};  // with `cut`: what refuses it now
  };
  // Different requests of one flow that are remembered; a flow with more does not outlive a narrowing.
  static constexpr std::size_t kMaxFlights = 16;

  void on(const control::Connect& ask);
  void on(const control::Flight& flight);
  void on(const control::Learn& learn);
  void on(const control::NameAnswered& answered);
  void on(const control::NameRefused& refused);
  void on(const control::OpenResolver& ask);
  void on(const control::FlowClosed& closed);
  void on(const control::Refused& refused);
  void on(const control::LimitReached& reached);
  void on(const control::PolicyTaken&) {}   // the owner's business: cuts_open()
  void on(const control::InboundTaken&) {}  // likewise

  // Where a destination of the guest really is, and under which names it may be judged.
  struct Place {
    net::Protocol protocol = net::Protocol::tcp;
    net::Endpoint dialled;
    std::vector<policy::NameCandidate> names;
    bool nameless_candidate = true;

    policy::Request request() const;
    // Nobody was told that this address stands for a name, or not for this one.
    bool stands_for_nothing = false;
    std::string name() const { return names.empty() ? std::string() : names.front().name->text(); }
  };
  Place place_of(net::Protocol protocol, const net::Endpoint& destination,
                 const std::optional<net::DomainName>& asked_name) const;
  void judge_name_of(const control::Connect& ask);
  void judge_address_of(const control::Connect& ask);
  // Whose bytes the gateway counts for a flow there: the peer of its socket.
  const net::IpAddress& account_of(const net::Endpoint& dialled) const;
  void learn_stand_in(const control::Learn& learn);
  void answer_learn(const control::Learn& learn, control::LearnAnswer reply, const policy::Verdict& refused);
  policy::Verdict judge(const Place& place);
  // Where connects come too fast an allowed one waits for its turn, and is then judged again.
  enum class Turn : std::uint8_t { to_take, taken };
  void consider(const control::Connect& ask, Turn turn);
  void consider_allowed(const control::Connect& ask, const policy::Verdict& verdict, const Place& place, Turn turn);
  void wait(const control::Connect& ask, const Place& place, std::uint64_t wait_ms);
  void stop_waiting();
  void refuse_over(policy::Limit limit, policy::Reason reason, const control::Connect& ask, const Place& place);
  audit::LimitHit hit_of(policy::Limit limit) const;
  bool is_full() const { return flow_count() >= max_flows(); }
  using Flows = std::unordered_map<std::uint64_t, Flow>;
  void made(Flow& flow);
  void forget(Flows::iterator flow);
  audit::Event learn_event(const control::Learn& learn, std::uint32_t allowed, const policy::Verdict& refused) const;
  void refuse(const control::Connect& ask, const policy::Verdict& verdict, const std::string& name,
              std::optional<policy::Limit> limit = std::nullopt);
  void admit(const control::Connect& ask, const policy::Verdict& verdict, const Place& place);
  struct Admitted {
    control::Connect ask;
    bool hold = false;
  };
  void dial(const Admitted& admitted);
  void dialled(const Admitted& admitted, Dialled dialled);
  static std::vector<KnownName> known(const std::vector<policy::NameCandidate>& names);
  static void remember(Flow& flow, policy::FirstFlight flight, const Place& place);
  policy::Verdict judge_again(const Flow& flow);
  void cut(std::uint64_t number, Flow& flow, const policy::Verdict& verdict);
  void forget_names();
  std::size_t cut_inbound();
  Result<const policy::HostFacts*> facts();
  void cancel_dial(Dialer::Id dial);
  const EgressRoute& route_to(net::Port port) const;
  static wire::Authority target_of(const Flow& flow);
  // How a flow ended. `error`: for the record, empty for an orderly end; `reason` where the upstream proxy failed.
  struct Close {
    std::uint64_t up = 0;
    std::uint64_t down = 0;
    std::string error = {};
    policy::Reason reason = policy::Reason::none;
  };
  void close_flow(std::uint64_t flow, const Close& close);
  std::optional<audit::Rule> rule_of(const policy::RuleRef& rule) const;
  void answer(const control::ToGateway& message, sys::OwnedFd passed = {}) { send_(message, std::move(passed)); }

  sys::Reactor& reactor_;
  policy::Image image_;
  LiveFacts facts_;
  Recorder& recorder_;
  Settings settings_;
  Send send_;
  Dialer dialer_;
  EgressDialer egress_;
  policy::StandIns stand_ins_;
  InboundFlows inbound_;
  policy::NameBook book_;
  net::DomainName host_service_;
  bool ending_ = false;
  bool suspended_ = false;
  std::uint64_t last_flow_ = 0;  // the highest number that was asked with
  FlowLimits limits_;
  Flows flows_;
  std::size_t in_the_making_ = 0;  // of the flows: TCP without a connection yet
  // A connect that waits for its turn. `timer` is 0: it came while nothing is dialled.
  struct Waiting {
    control::Connect ask;
    sys::Reactor::TimerId timer = 0;
  };
  std::unordered_map<std::uint64_t, Waiting> waiting_;  // by flow
  std::vector<Admitted> admitted_;                      // recorded with the next commit, then dialled
  std::uint64_t failed_commits_ = 0;                    // of the recorder, up to the last settle()
  const policy::HostFacts* current_facts_ = nullptr;    // asked for once between two calls of settle()
};

}  // namespace weir::dial
