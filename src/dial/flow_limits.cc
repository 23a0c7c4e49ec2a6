#include "dial/flow_limits.h"

namespace weir::dial {

namespace {

using policy::Limit;

constexpr std::uint64_t kSecondMs = 1000;

}  // namespace

FlowLimits::FlowLimits(const policy::Limits& limits, std::uint64_t flows_possible) : max_flows_(flows_possible) {
  narrow(limits, 0);
}

void FlowLimits::narrow(const policy::Limits& limits, std::uint64_t now_ms) {
  max_flows_ = std::min(max_flows_, limits[Limit::max_flows]);
  half_open_ = std::min(half_open_, limits[Limit::half_open]);
  const std::uint64_t rate = limits[Limit::connects_per_second];
  TokenBucket::narrow(connects_, now_ms, rate, kSecondMs, TokenBucket::twice(rate));
}

std::optional<Limit> FlowLimits::used_up(const net::IpAddress& address) const {
  if (all_) return all_;
  return addresses_.contains(address) ? std::optional(Limit::egress_bytes) : std::nullopt;
}

void FlowLimits::note_used_up(Limit limit, const net::IpAddress& address) {
  if (limit == Limit::egress_bytes_total || limit == Limit::ingress_bytes) all_ = limit;
  if (limit != Limit::egress_bytes) return;
  if (addresses_.size() >= kMaxAddresses) {
    all_ = limit;
  } else {
    addresses_.insert(address);
  }
}

}  // namespace weir::dial
