#include "dial/flow_limits.h"

namespace weir::dial {

namespace {

using policy::Limit;

constexpr std::uint64_t kSecondMs = 1000;

}  // namespace

FlowLimits::FlowLimits(const policy::Limits& limits, std::uint64_t flows_possible)
    : max_flows_(std::min(limits[Limit::max_flows], flows_possible)), half_open_(limits[Limit::half_open]) {
  const std::uint64_t rate = limits[Limit::connects_per_second];
  if (rate != policy::Limits::kUnlimited) connects_.emplace(rate, kSecondMs, TokenBucket::twice(rate));
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
