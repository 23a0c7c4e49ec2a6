// weir0 from the outside: packets in, packets out.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "base/bytes.h"
#include "sys/owned_fd.h"
#include "sys/reactor.h"

namespace weir::gateway {

class Tun : public sys::EventHandler {
 public:
  // The MTU is 65,535 and a SYN may carry data (dataplane.md 3).
  static constexpr std::size_t kMaxPacket = 65535;

  Tun(sys::Reactor& reactor, sys::OwnedFd fd) : reactor_(reactor), fd_(std::move(fd)), buffer_(kMaxPacket + 1) {}

  // `on_packet` gets each packet; the bytes are valid during the call. `before_writing` runs before packets go out and
  // says whether they may: what an answer stands on was recorded first.
  Result<> start(std::function<void(Bytes)> on_packet, std::function<bool()> before_writing);

  // The packet goes out with the next flush().
  void write(Bytes packet);

  // A packet that the kernel does not take is lost, as on any wire.
  void flush();

  // Reads what the guest's processes left behind.
  void read_rest();

  void on_events(std::uint32_t events) override;

 private:
  // False: nothing is waiting.
  bool read_packet();

  sys::Reactor& reactor_;
  sys::OwnedFd fd_;
  std::vector<std::uint8_t> buffer_;
  std::vector<std::uint8_t> waiting_;  // packets to be written, one behind the other
  std::vector<std::size_t> sizes_;
  std::function<void(Bytes)> on_packet_;
  std::function<bool()> before_writing_;
};

}  // namespace weir::gateway
