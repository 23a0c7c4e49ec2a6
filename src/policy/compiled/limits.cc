#include <algorithm>

#include "policy/compiled/image.h"

namespace weir::policy {

// policy.md section 7: `open` has none, `semitrusted` adds a volume and a rate.
Limits Limits::defaults_of(Mode mode) {
  Limits limits;
  if (mode == Mode::open || mode == Mode::host) return limits;
  constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;
  limits[Limit::max_flows] = 1024;
  limits[Limit::half_open] = 64;
  limits[Limit::connects_per_second] = 200;
  limits[Limit::dns_queries_per_second] = 100;
  limits[Limit::dns_names_per_minute] = 600;
  limits[Limit::egress_bytes] = kGiB;
  limits[Limit::connect_timeout_ms] = 30'000;
  limits[Limit::idle_timeout_ms] = 3'600'000;
  limits[Limit::udp_idle_timeout_ms] = 60'000;
  if (mode == Mode::semitrusted) {
    limits[Limit::egress_bytes_total] = kGiB;
    limits[Limit::egress_bits_per_second] = 100'000'000;
    limits[Limit::ingress_bits_per_second] = 100'000'000;
  }
  return limits;
}

bool is_enforced(Limit limit) {
  return limit == Limit::max_flows || limit == Limit::connect_timeout_ms || limit == Limit::idle_timeout_ms ||
         limit == Limit::udp_idle_timeout_ms;
}

void Limits::narrow(const Limits& other) {
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = std::min(values[i], other.values[i]);
}

}  // namespace weir::policy
