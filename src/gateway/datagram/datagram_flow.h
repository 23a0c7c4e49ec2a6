// One flow of UDP datagrams or ICMP echoes that was admitted: the guest's packets and its connected host socket.
#pragma once

#include <cstdint>
#include <vector>

#include "gateway/datagram/datagram_socket.h"
#include "gateway/datagram/dialect.h"
#include "gateway/datagram/receive_batch.h"
#include "gateway/datagram/train.h"
#include "gateway/meter.h"
#include "gateway/refuser.h"
#include "gateway/tun.h"
#include "net/ip_address.h"
#include "sys/owned_fd.h"
#include "sys/reactor.h"

namespace weir::gateway {

// What all flows of a gateway share.
struct DatagramContext {
  sys::Reactor& reactor;
  Tun& tun;
  Refuser& refuser;
  Meter& meter;
  Train train = {};  // what the guest sent in this round and has not gone out
  ReceiveBatch received = {};
  std::vector<std::uint8_t> packet = std::vector<std::uint8_t>(wire::kMaxPacket);
};

class DatagramFlow : public sys::EventHandler {
 public:
  struct Count {
    std::uint64_t bytes_up = 0;
    std::uint64_t bytes_down = 0;
    int error = 0;  // how the last datagram failed, if nothing was heard from the peer since
  };

  // `socket`: non-blocking and connected, so that nobody but its peer is ever sent to; errors queue in it.
  DatagramFlow(DatagramContext& context, const DatagramKey& key, std::uint64_t number, sys::OwnedFd socket);

  Result<> start();

  // Goes out with the next send_train() of the flow that is in the train. A datagram that the kernel has no room for is
  // lost, as on any wire.
  void send(Bytes message);
  // Of what the context's train holds, which is this flow's.
  void send_train();
  void on_events(std::uint32_t events) override;
  // Sends what waits and closes the socket; an event already fetched finds nothing to do.
  void end();
  // Likewise, but what waits is lost.
  void abort();

  const DatagramKey& key() const { return key_; }
  std::uint64_t number() const { return number_; }
  std::uint64_t last_activity_ms() const { return last_activity_ms_; }
  const Count& count() const { return count_; }

 private:
  void send_one(Bytes message);
  bool send_cut(Bytes messages, std::size_t size);
  bool try_send(Bytes message);
  Meter::Passage pass(Way way, Bytes message);
  void receive();
  std::size_t receive_some();
  std::size_t take_echo(const ReceiveBatch::Message& message);
  std::size_t take_all(Bytes messages, std::size_t segment);
  void take(Bytes message);
  void read_errors();
  bool read_error();
  void tell_guest(Bytes message, wire::Refusal how);

  DatagramContext& context_;
  DatagramKey key_;
  std::uint64_t number_;
  DatagramSocket socket_;
  net::IpAddress peer_;
  Meter::Account* account_ = nullptr;
  bool told_of_quota_ = false;
  std::uint64_t last_activity_ms_;
  Count count_;
};

}  // namespace weir::gateway
