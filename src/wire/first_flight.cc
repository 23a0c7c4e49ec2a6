#include "wire/first_flight.h"

namespace weir::wire {

FirstFlightSniffer::Verdict FirstFlightSniffer::feed(Bytes chunk) {
  held_.insert(held_.end(), chunk.begin(), chunk.end());
  if (verdict_ != Verdict::need_more) return verdict_;
  verdict_ = judge(chunk);
  if (verdict_ == Verdict::need_more && held_.size() >= kMaxUndecided) verdict_ = Verdict::malformed;
  return verdict_;
}

FirstFlightSniffer::Verdict FirstFlightSniffer::judge(Bytes chunk) {
  using State = ClientHelloReader::State;
  const State tls = expect_ == Expect::http ? State::not_tls : tls_.feed(chunk);
  if (tls == State::complete) return Verdict::tls;
  if (tls == State::malformed) return Verdict::malformed;
  not_tls_ = tls == State::not_tls;
  const HttpLook http = expect_ == Expect::tls ? HttpLook::no : http_.feed(chunk);
  switch (http) {
    case HttpLook::http1:
      return Verdict::http;
    case HttpLook::h2c:
      return Verdict::h2c;
    case HttpLook::need_more:
      return Verdict::need_more;
    case HttpLook::no:
      break;
  }
  return not_tls_ ? Verdict::opaque : Verdict::need_more;
}

}  // namespace weir::wire
