// The handshake with a proxy of the user's own, from its first byte to the tunnel: CONNECT (RFC 9110 9.3.6) or SOCKS5.
//
// Not one byte behind the handshake is taken: the first bytes of the tunnel often come with its last ones.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "wire/authority.h"
#include "wire/http1_response.h"
#include "wire/socks5.h"

namespace weir::wire {

class TunnelClient {
 public:
  enum class Kind : std::uint8_t { http, socks };
  // refused: the proxy says no, or that it cannot. broken: what it says is no answer.
  enum class State : std::uint8_t { talking, stands, refused, broken };

  // Of all that a proxy may say until the tunnel stands; squid's longest own head has a fifth of it.
  static constexpr std::size_t kMaxBytes = 16384;
  // Of user and password each: what SOCKS can say (RFC 1929).
  static constexpr std::size_t kMaxCredential = 255;

  // `target` with a port. `credentials`: "user:password", or empty. `output` to be sent follows at once.
  TunnelClient(Kind kind, Authority target, std::string_view credentials);

  // What is to be sent now; once.
  std::string take_output() { return std::exchange(output_, {}); }
  // Takes bytes of the proxy and returns how many were the handshake's: the others stay where they are.
  std::size_t feed(Bytes bytes);
  State state() const { return state_; }
  // Where it refused, as the nearest errno: what a program hears that asked for the connection.
  int error() const;
  // For the record: "HTTP 403", "SOCKS 2", "SOCKS login refused", "no answer that can be read". Never a byte of the
  // proxy's.
  std::string said() const;

 private:
  enum class Awaiting : std::uint8_t { choice, password, answer };

  std::size_t feed_http(Bytes bytes);
  std::size_t feed_socks(Bytes bytes);
  void take_socks();
  void proceed(const socks5::Choice& choice, Awaiting next, std::string say);
  void end(State state, int code);

  Kind kind_;
  State state_ = State::talking;
  int code_ = 0;
  std::size_t taken_ = 0;
  std::string output_;
  ResponseStream response_{"CONNECT"};
  Authority target_;
  std::string user_;
  std::string password_;
  Awaiting awaiting_ = Awaiting::choice;
  std::vector<std::uint8_t> held_;  // of the SOCKS message that is being read
};

// Base 64 (RFC 4648 4).
std::string base64(std::string_view bytes);

}  // namespace weir::wire
