// The network side of one sandbox: capture, admission, and the gateway, which the first packet starts.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "dial/admission.h"
#include "sandbox/capture.h"
#include "supervisor/gateway_process.h"
#include "sys/reactor.h"

namespace weir::supervisor {

class Network {
 public:
  // Called once if the network can no longer be kept up (the gateway died or talks nonsense): the sandbox must end.
  using OnFailure = std::function<void(std::string)>;

  // `image`: the compiled policy. Nothing is read from the capture until the gateway runs.
  static Result<std::unique_ptr<Network>> create(sys::Reactor& reactor, sandbox::Capture capture,
                                                 const sandbox::CaptureAddresses& addresses, Bytes image,
                                                 std::vector<net::Endpoint> resolvers, dial::Recorder& log,
                                                 OnFailure on_failure);
  ~Network();
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;

  // Whether a packet has started it.
  bool has_gateway() const { return gateway_.has_value(); }

  // Kills the gateway, after the sandbox's processes are gone (dataplane.md section 6: the order of death). What it
  // still had to say is read first.
  void stop();

 private:
  Network(sys::Reactor& reactor, sandbox::Capture capture, const sandbox::CaptureAddresses& addresses,
          sys::OwnedFd image, OnFailure on_failure);
  Result<> wait_for_first_packet();
  void first_packet();
  Result<> start_gateway();
  void send(const control::ToGateway& message, sys::OwnedFd passed);
  void on_gateway_readable();
  void on_gateway_writable();
  bool read_messages();
  void read_last_messages();
  void fail(std::string why);

  struct Queued {
    std::vector<std::uint8_t> message;
    sys::OwnedFd passed;
  };

  sys::Reactor& reactor_;
  sandbox::Capture capture_;
  sandbox::CaptureAddresses addresses_;
  sys::OwnedFd image_file_;
  OnFailure on_failure_;
  sys::CallbackHandler first_packet_handler_;
  sys::CallbackHandler gateway_handler_;
  sys::CallbackHandler death_handler_;
  std::unique_ptr<dial::Admission> admission_;
  std::optional<GatewayProcess> gateway_;
  std::vector<Queued> unsent_;  // answers the gateway has not read yet; bounded by the questions it asked
  bool stopping_ = false;
};

}  // namespace weir::supervisor
