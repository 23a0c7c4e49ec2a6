// The network side of one sandbox: capture, admission, and the gateway, which the first packet starts.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "control/batch.h"
#include "dial/admission.h"
#include "sandbox/network/capture.h"
#include "supervisor/network/gateway_process.h"
#include "supervisor/network/inbound.h"
#include "sys/memory_file.h"
#include "sys/reactor.h"

namespace weir::supervisor {

class Network {
 public:
  // Called once if the network can no longer be kept up (the gateway died or talks nonsense): the sandbox must end.
  using OnFailure = std::function<void(std::string)>;

  // `image`: the compiled policy, a sealed memory file. Nothing is read from the capture until the gateway runs;
  // without one (an empty Capture) there are only published ports.
  static Result<std::unique_ptr<Network>> create(sys::Reactor& reactor, sandbox::Capture capture,
                                                 const sandbox::CaptureAddresses& addresses,
                                                 std::shared_ptr<const sys::OwnedFd> image,
                                                 std::vector<net::Endpoint> resolvers,
                                                 std::vector<dial::EgressRoute> egress, dial::Recorder& log,
                                                 OnFailure on_failure);
  ~Network();
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;

  // A compiled policy in a sealed memory file, and the view of it.
  struct Policy {
    std::shared_ptr<const sys::OwnedFd> file;
    sys::Mapping mapping;  // `image` looks into it
    policy::Image image;

    static Result<Policy> of(std::shared_ptr<const sys::OwnedFd> file);
  };

  // Connections in both directions that live now.
  std::size_t flows() const { return admission_->flow_count(); }
  // The policy in force.
  const policy::Image& policy() const { return policy_.image; }
  // Records and dials what was admitted so far; a change of the policy comes after it, in the same round.
  void settle() { admission_->settle(); }
  // From here on `next` decides, which must be narrower. Flows that it does not allow are cut at once; `on_taken` hears
  // how many when the gateway has let go of them and of all it knew under the old policy. A gateway that does not
  // ends the network, and `on_taken` hears nothing then.
  using OnTaken = std::function<void(std::size_t cut)>;
  void narrow(Policy next, std::uint64_t generation, OnTaken on_taken);

  // Nothing passes any more, whatever the guest does: the gateway is stopped, or none is started; no question of it is
  // answered, and nobody is let in. What the kernel had taken before (bytes written to a connection, a connect under
  // way) goes its way. A change of the policy is in force at once and is taken when this is over. An error: everything
  // goes on.
  Result<> suspend();
  void go_on();

  // Serves published ports. `guest`: opens the sockets inside, and outlives this object.
  Result<> publish(std::vector<PublishedPort> ports, sandbox::GuestSockets& guest);

  // Whether a packet, or a connection to a published port, has started it.
  bool has_gateway() const { return gateway_.has_value(); }

  // Kills the gateway, after the sandbox's processes are gone (dataplane.md section 6: the order of death). What it
  // still had to say is read first.
  void stop();
  // For an event loop that serves others meanwhile: hears what it still has to say; `done`, later, when that was all,
  // or after kLastWordsMs. Then the object may go, without a wait.
  void hear_out(std::function<void()> done);

 private:
  // Messages that travel together, and the descriptors that ride along.
  struct Passed {
    sys::OwnedFd fd;
    std::uint64_t flow = 0;  // whose socket it is; 0: of none
  };
  struct Packet {
    control::Batch messages;
    std::vector<Passed> passed;
  };
  // A change that the gateway has not confirmed.
  struct Change {
    std::uint64_t generation = 0;
    std::size_t cut = 0;
    OnTaken on_taken;
    sys::Reactor::TimerId deadline = 0;
  };

  Network(sys::Reactor& reactor, sandbox::Capture capture, const sandbox::CaptureAddresses& addresses, Policy policy,
          OnFailure on_failure);
  Result<> wait_for_first_packet();
  void first_packet();
  Result<> start_gateway();
  void send(const control::ToGateway& message, sys::OwnedFd passed);
  void end_packet();
  void flush();
  void retry_later();
  Result<> send_packet(const Packet& packet);
  void on_gateway_readable();
  bool read_messages();
  void disconnect_queued(std::uint64_t flow);
  void taken(std::uint64_t generation);
  sys::Reactor::TimerId deadline_of_change();
  void read_last_messages();
  void ask_for_last_words();
  void heard_out();
  void lose_gateway();
  void fail(std::string why);

  sys::Reactor& reactor_;
  sandbox::Capture capture_;
  sandbox::CaptureAddresses addresses_;
  Policy policy_;  // admission_ looks into it
  OnFailure on_failure_;
  sys::CallbackHandler first_packet_handler_;
  sys::CallbackHandler gateway_handler_;
  sys::CallbackHandler death_handler_;
  std::unique_ptr<dial::Admission> admission_;
  std::unique_ptr<Inbound> inbound_;
  std::optional<GatewayProcess> gateway_;
  Packet next_;                // what is sent at the end of the round
  std::deque<Packet> unsent_;  // answers the gateway has not read yet; bounded by the questions it asked
  std::deque<Change> changes_;
  bool gateway_is_behind_ = false;
  sys::Reactor::TimerId retry_ = 0;  // 0: none is due
  sys::Reactor::RoundId round_ = 0;
  bool stopping_ = false;
  std::function<void()> on_heard_out_;
  sys::Reactor::TimerId last_words_ = 0;  // until when they are waited for, or their end is told
  bool was_heard_ = false;
  bool suspended_ = false;
};

}  // namespace weir::supervisor
