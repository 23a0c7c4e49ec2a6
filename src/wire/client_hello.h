// Reads the one thing of TLS that is in the clear and names the server: the ClientHello (RFC 8446 4.1.2, RFC 6066 3).
//
// The hello may be spread over any number of records and segments, a byte each if the guest likes. The reader copies
// the handshake bytes out of the records and parses the message once, when it is whole. It is stricter than servers
// are: whatever two servers might read differently is `malformed`.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "net/domain_name.h"
#include "wire/look.h"

namespace weir::wire {

// Whether a stream starts like TLS. Wider than what ClientHelloReader accepts, because the answer `no` exempts a stream
// from naming its server: any record type and version that some server lets pass, and the SSLv2 form of the hello.
// Decides within six bytes.
Look looks_like_tls(Bytes prefix);

enum class Sni : std::uint8_t {
  absent,
  host_name,      // exactly one, and net::DomainName takes it
  several,        // more than one entry or extension, whatever the entries say
  not_host_name,  // an address literal, a trailing dot, another name type, anything else
};

struct ClientHello {
  Sni sni = Sni::absent;
  std::optional<net::DomainName> name;  // set if `sni` is host_name
  bool has_ech = false;                 // Encrypted ClientHello (0xfe0d), or a draft of it: another name may be inside
};

class ClientHelloReader {
 public:
  // Stream bytes, record headers included, until the hello is complete (policy.md section 4). A hello with post-quantum
  // key shares has about 2 KiB.
  static constexpr std::size_t kMaxStream = 65536;

  enum class State : std::uint8_t {
    need_more,
    complete,
    not_tls,    // looks_like_tls() says no
    malformed,  // it starts like TLS and then breaks the format, uses SSLv2, or is longer than kMaxStream
  };

  // Takes the next bytes of the stream. Once the state is not need_more it stays, and further bytes are not looked at.
  State feed(Bytes chunk);
  State state() const { return state_; }
  // Meaningful in state complete.
  const ClientHello& hello() const { return hello_; }

 private:
  void consume(Bytes bytes);
  State take_header_byte(std::uint8_t byte);
  State take_fragment(Bytes fragment);

  State state_ = State::need_more;
  std::array<std::uint8_t, 6> prefix_{};  // until the stream is known to look like TLS
  std::size_t prefix_size_ = 0;
  bool looks_like_tls_ = false;
  std::size_t taken_ = 0;                 // stream bytes consumed, for kMaxStream
  std::array<std::uint8_t, 5> header_{};  // of the current record
  std::size_t header_size_ = 0;           // how much of it is there
  std::size_t record_left_ = 0;           // bytes of the current record's fragment to come
  std::vector<std::uint8_t> handshake_;   // message header and body
  ClientHello hello_;
};

}  // namespace weir::wire
