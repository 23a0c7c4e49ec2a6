// A client of a published UDP port: its socket, the one to the port inside, and the datagrams between them.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "gateway/datagram/datagram_socket.h"
#include "gateway/datagram/receive_batch.h"
#include "gateway/meter.h"
#include "sys/owned_fd.h"
#include "sys/reactor.h"

namespace weir::gateway {

class DatagramPair {
 public:
  struct End {
    std::uint64_t bytes_up = 0;    // from the guest to the client
    std::uint64_t bytes_down = 0;  // from the client to the guest
    int error = 0;                 // how the last datagram failed, if nothing was heard since from whom it was for
  };
  using OnEnd = std::function<void(const End&)>;

  // What all pairs share. `meter`: what it does not let pass is lost.
  struct Context {
    sys::Reactor& reactor;
    Meter& meter;
    ReceiveBatch& received;
  };

  // Both sockets: connected. What one has no room for is lost, as on any wire. `on_end`
  // is called at most once, from the event loop: somebody has shut a socket, which is no end of datagrams.
  DatagramPair(const Context& context, std::uint64_t flow, sys::OwnedFd client, sys::OwnedFd guest, OnEnd on_end);
  ~DatagramPair();
  DatagramPair(const DatagramPair&) = delete;
  DatagramPair& operator=(const DatagramPair&) = delete;

  Result<> start();
  // One datagram of the client's that was read elsewhere.
  void pass_in(Bytes message);
  // What the guest has sent goes out; no event after that finds anything to do.
  End finish();
  // Nothing more goes either way.
  End abort(int error);

  std::uint64_t last_activity_ms() const { return last_activity_ms_; }
  // Whether the client has said something after it was answered: more than a question.
  bool is_established() const { return established_; }

 private:
  struct Side : sys::EventHandler {
    Side(DatagramPair& owner, sys::OwnedFd fd);
    void on_events(std::uint32_t events) override { pair.on_events(*this, events); }

    DatagramPair& pair;
    DatagramSocket socket;
    std::uint64_t sent = 0;  // bytes to it
    int error = 0;
  };

  void on_events(Side& from, std::uint32_t events);
  void forget_errors(Side& from);
  void carry(Side& from);
  std::size_t carry_some(Side& from);
  void pass(Side& to, Bytes messages, std::size_t segment);
  void pass_one(Side& to, Bytes message);
  void send_one(Side& to, Bytes message);
  Way way_to(const Side& to) const { return &to == &client_ ? Way::up : Way::down; }

  Context context_;
  std::uint64_t flow_;
  Side client_;
  Side guest_;
  Meter::Account& account_;
  OnEnd on_end_;
  std::uint64_t last_activity_ms_;
  bool told_of_quota_ = false;
  bool answered_ = false;
  bool established_ = false;
  bool ended_ = false;
};

}  // namespace weir::gateway
