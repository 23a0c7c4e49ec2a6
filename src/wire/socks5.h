// SOCKS version 5 (RFC 1928): what a client says and what it is answered, both ways round.
//
// Strict: a reserved byte that is set, a name that is no host name and port 0 are malformed, never repaired. Clients
// are served without authentication; to a server of the user's own a user and a password are said (RFC 1929).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

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
  ttl_expired = 6,
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

// --- The other side: what weir says to a server, and how it reads that server's answers. ---

enum class Offer : std::uint8_t { nothing, password };
// Offers no authentication, or a user's password and nothing less.
std::string build_greeting(Offer offer);
// Each of at most 255 bytes.
std::string build_password(std::string_view user, std::string_view password);
// CONNECT; `destination` with a port.
std::string build_request(const Authority& destination);

// Two bytes: the method that the server chose out of `offer`, or the outcome of the password. Anything else than that
// is malformed; `accepted` is false where the server says no.
struct Choice {
  Progress progress = Progress::need_more;
  bool accepted = false;
};
Choice parse_choice(Bytes bytes, Offer offer);
Choice parse_password_outcome(Bytes bytes);

// The answer to a request. Of a refusal nothing but the first two bytes is read: some servers send no more.
struct Answer {
  Progress progress = Progress::need_more;
  std::size_t size = 0;   // of a complete one: what follows belongs to the tunnel
  std::uint8_t code = 0;  // as the server wrote it: a Reply, or a number that no RFC knows
};
Answer parse_answer(Bytes bytes);

}  // namespace weir::wire::socks5
