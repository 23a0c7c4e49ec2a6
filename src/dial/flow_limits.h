// The limits of the policy on new connections and flows (policy.md section 7): counts refuse, the rate delays.
//
// Kept where the dialling is, so that a gateway that was taken over is bound by them too. Quotas of bytes are counted
// in the gateway, which says when one is used up.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <unordered_set>

#include "base/token_bucket.h"
#include "net/ip_address.h"
#include "policy/compiled/image.h"

namespace weir::dial {

class FlowLimits {
 public:
  // Who would wait longer is refused.
  static constexpr std::uint64_t kPatienceMs = 5000;
  // Connects that wait for their turn, whatever the rate: a few hundred bytes each.
  static constexpr std::size_t kMaxWaiting = 8192;

  // `flows_possible`: what the machine has room for.
  FlowLimits(const policy::Limits& limits, std::uint64_t flows_possible);
  // The smaller of both holds from now on, for each limit; turns that were given stay.
  void narrow(const policy::Limits& limits, std::uint64_t now_ms);

  std::uint64_t max_flows() const { return max_flows_; }
  // Connections that may be in the making.
  std::uint64_t half_open() const { return half_open_; }

  // How many milliseconds a new connection must wait for its turn, which is then its own; nullopt: too long.
  std::optional<std::uint64_t> turn(std::uint64_t now_ms) {
    return connects_ ? connects_->take(now_ms, 1, kPatienceMs) : std::uint64_t{0};
  }

  // The quota that leaves no byte for this address.
  std::optional<policy::Limit> used_up(const net::IpAddress& address) const;
  // Ignored for what is no quota.
  void note_used_up(policy::Limit limit, const net::IpAddress& address);

 private:
  // Addresses with a quota of their own that is used up. Beyond it the quota counts as used up for all.
  static constexpr std::size_t kMaxAddresses = 65'536;

  std::uint64_t max_flows_;
  std::uint64_t half_open_ = policy::Limits::kUnlimited;
  std::optional<TokenBucket> connects_;
  std::optional<policy::Limit> all_;  // of everything
  std::unordered_set<net::IpAddress> addresses_;
};

}  // namespace weir::dial
