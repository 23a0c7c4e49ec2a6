#include "gateway/meter.h"

#include <sys/socket.h>

#include <algorithm>
#include <utility>

#include "sys/socket_address.h"

namespace weir::gateway {

namespace {

using policy::Limit;

constexpr std::uint64_t kBitsPerByte = 8;
constexpr std::uint64_t kSecondMs = 1000;
// Of a rate: what may move at once after a pause. Little enough that five seconds hold a tenth more at most, more than
// an event loop is late.
constexpr std::uint64_t kBurstPerSecond = 10;
// What one direction moves before the others have their turn.
constexpr std::uint64_t kPortionPerSecond = 50;
constexpr std::uint64_t kLargestPortion = 1 << 20;
// Datagrams in advance of their rate, as a queue of a link would hold them.
constexpr std::uint64_t kDatagramQueueMs = 50;
constexpr std::uint64_t kTellAgainMs = 60'000;

}  // namespace

Meter::Meter(const policy::Limits& limits, Report report)
    : report_(std::move(report)),
      up_{.rate_limit = Limit::egress_bits_per_second},
      down_{.rate_limit = Limit::ingress_bits_per_second} {
  narrow(limits, 0);
}

void Meter::narrow(const policy::Limits& limits, std::uint64_t now_ms) {
  per_address_ = std::min(per_address_, limits[Limit::egress_bytes]);
  up_.quota = std::min(up_.quota, limits[Limit::egress_bytes_total]);
  down_.quota = std::min(down_.quota, limits[Limit::ingress_bytes]);
  for (Total* total : {&up_, &down_}) {
    const std::uint64_t bits = limits[total->rate_limit];
    TokenBucket::narrow(total->rate, now_ms, bits, kBitsPerByte * kSecondMs, bits / kBitsPerByte / kBurstPerSecond);
    total->portion = std::min(total->portion,
                              std::clamp<std::uint64_t>(bits / kBitsPerByte / kPortionPerSecond, 1, kLargestPortion));
  }
}

Meter::Account& Meter::account(const net::IpAddress& peer) {
  const auto found = accounts_.find(peer);
  if (found != accounts_.end()) return found->second;
  return accounts_.size() >= kMaxAccounts ? others_ : accounts_[peer];
}

Meter::Account& Meter::account_of(int socket) {
  sys::SocketAddress peer;
  std::optional<net::Endpoint> to;
  if (::getpeername(socket, peer.get(), &peer.size) == 0) to = peer.endpoint();
  return account(to ? to->address : net::IpAddress());
}

Meter::Left Meter::left(Way way, const Account& account) const {
  const Total& total = of(way);
  Left least{.bytes = total.quota > total.moved ? total.quota - total.moved : 0,
             .limit = way == Way::up ? Limit::egress_bytes_total : Limit::ingress_bytes};
  if (total.quota == policy::Limits::kUnlimited) least.bytes = UINT64_MAX;
  if (way == Way::down || per_address_ == policy::Limits::kUnlimited) return least;
  const std::uint64_t here = per_address_ > account.sent ? per_address_ - account.sent : 0;
  return here < least.bytes ? Left{.bytes = here, .limit = Limit::egress_bytes} : least;
}

void Meter::count(Way way, Account& account, std::uint64_t bytes) {
  of(way).moved += bytes;
  if (way == Way::up) account.sent += bytes;
}

Meter::Passage Meter::pass(Way way, Account& account, std::uint64_t bytes, std::uint64_t now_ms) {
  if (left(way, account).bytes < bytes) return Passage::used_up;
  Total& total = of(way);
  if (total.rate && !total.rate->take(now_ms, bytes, kDatagramQueueMs)) {
    tell_of_rate(total, now_ms);
    return Passage::lost;
  }
  count(way, account, bytes);
  return Passage::free;
}

std::uint64_t Meter::reserve(Way way, std::uint64_t count, std::uint64_t now_ms) {
  Total& total = of(way);
  const std::uint64_t wait = *total.rate->take(now_ms, count, UINT64_MAX);
  if (wait > 0) tell_of_rate(total, now_ms);
  return wait;
}

void Meter::tell_of_rate(Total& total, std::uint64_t now_ms) {
  if (total.told_ms && now_ms - *total.told_ms < kTellAgainMs) return;
  total.told_ms = now_ms;
  report_(total.rate_limit, 0);
}

Allowance::Room Allowance::room(std::uint64_t now_ms) {
  const Meter::Left left = meter_.left(way_, *account_);
  if (left.bytes == 0) return {.used_up = left.limit};
  if (!meter_.has_rate(way_)) return {.bytes = left.bytes};
  if (reserved_ == 0) {
    reserved_ = meter_.portion(way_);
    ready_ms_ = now_ms + meter_.reserve(way_, reserved_, now_ms);
  }
  if (ready_ms_ > now_ms) return {.wait_ms = ready_ms_ - now_ms};
  return {.bytes = std::min(left.bytes, reserved_)};
}

void Allowance::used(std::uint64_t bytes) {
  meter_.count(way_, *account_, bytes);
  reserved_ -= std::min(bytes, reserved_);
}

void Allowance::rest() {
  if (reserved_ > 0) meter_.give_back(way_, std::exchange(reserved_, 0));
}

}  // namespace weir::gateway
