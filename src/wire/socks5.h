// SOCKS version 5 (RFC 1928), without authentication: what a client says and what it is answered.
//
// Strict: a reserved byte that is set, a name that is no host name and port 0 are malformed, never repaired.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "base/bytes.h"
#include "wire/authority.h"

namespace weir::wire::socks5 {

// RFC 1928 6.
enum class Reply : std::uint8_t {
  succeeded = 0,
  general_failure = 1,
  not_allowed = 2,
  network_unreachable = 3,
  host_unreachable = 4,
  connection_refused = 5,
  command_not_supported = 7,
  address_type_not_supported = 8,
};

enum class Progress : std::uint8_t { need_more, complete, malformed };

// The first message: which ways of authentication the client knows.
struct Greeting {
  Progress progress = Progress::need_more;
  std::size_t size = 0;                 // of a complete one
  bool without_authentication = false;  // is among them
};
Greeting parse_greeting(Bytes bytes);

struct Request {
  Progress progress = Progress::need_more;
  std::size_t size = 0;
  Reply refusal = Reply::general_failure;  // of a malformed one
  Authority destination;                   // with a port; a name is judged and resolved here, not by the client
};
// Only CONNECT is a request; what else RFC 1928 knows is malformed with the reply that says so.
Request parse_request(Bytes bytes);

// The answers. An address in the reply is what the client would never use: all zero.
inline constexpr std::array<std::uint8_t, 2> kNoAuthentication = {5, 0};
inline constexpr std::array<std::uint8_t, 2> kNoAcceptableMethod = {5, 0xff};
std::array<std::uint8_t, 10> reply(Reply code);

}  // namespace weir::wire::socks5
