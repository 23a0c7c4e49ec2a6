// Reads the first bytes of a guest's stream until it is known what they are and, for TLS, whom they name.
//
// Every byte that was fed is kept: none of them may go upstream before the judgement. After `http` the caller feeds
// held() to a RequestStream, which reports the authority of this and of every later request.
#pragma once

#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "wire/client_hello.h"
#include "wire/http1_prefix.h"

namespace weir::wire {

// What the port demands: `tls` on 443, `http` on 80, `either` elsewhere.
enum class Expect : std::uint8_t { tls, http, either };

class FirstFlightSniffer {
 public:
  // Until the verdict; the last chunk may carry held() beyond it. A stream that is longer and still undecided is
  // malformed.
  static constexpr std::size_t kMaxUndecided = 65536;

  enum class Verdict : std::uint8_t {
    need_more,
    tls,        // a whole ClientHello: hello()
    http,       // starts like HTTP/1
    opaque,     // something else; with Expect::tls or Expect::http it is not what the port demands
    h2c,        // HTTP/2 by prior knowledge
    malformed,  // starts like TLS and is broken, or stays undecided for too long
  };

  explicit FirstFlightSniffer(Expect expect) : expect_(expect) {}

  // Once the verdict is not need_more it stays; further bytes are kept only.
  Verdict feed(Bytes chunk);
  Verdict verdict() const { return verdict_; }
  Bytes held() const { return held_; }
  // Off 80 and 443, while need_more: it is no TLS, and text without a line end. A request line that has begun, or
  // another protocol.
  bool may_be_a_line() const { return expect_ == Expect::either && verdict_ == Verdict::need_more && not_tls_; }
  // Meaningful after `tls`.
  const ClientHello& hello() const { return tls_.hello(); }

 private:
  Verdict judge(Bytes chunk);

  Expect expect_;
  Verdict verdict_ = Verdict::need_more;
  bool not_tls_ = false;
  std::vector<std::uint8_t> held_;
  ClientHelloReader tls_;
  Http1Prefix http_;
};

}  // namespace weir::wire
