#include <algorithm>

#include "base/quantity.h"
#include "policy/compiled/image.h"

namespace weir::policy {

namespace {

// The shortest text that parses back to the same value.
std::string rate_text(std::uint64_t bits) {
  if (bits % 1'000'000'000 == 0) return std::to_string(bits / 1'000'000'000) + "Gbit/s";
  if (bits % 1'000'000 == 0) return std::to_string(bits / 1'000'000) + "Mbit/s";
  if (bits % 1'000 == 0) return std::to_string(bits / 1'000) + "kbit/s";
  return std::to_string(bits) + "bit/s";
}

}  // namespace

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

std::string text_of(Limit limit, std::uint64_t value) {
  if (value == Limits::kUnlimited) return "none";
  switch (limit) {
    case Limit::egress_bytes:
    case Limit::egress_bytes_total:
    case Limit::ingress_bytes:
      return size_text(value);
    case Limit::egress_bits_per_second:
    case Limit::ingress_bits_per_second:
      return rate_text(value);
    case Limit::connect_timeout_ms:
    case Limit::idle_timeout_ms:
    case Limit::udp_idle_timeout_ms:
      return duration_text(value);
    case Limit::max_flows:
    case Limit::half_open:
    case Limit::connects_per_second:
    case Limit::dns_queries_per_second:
    case Limit::dns_names_per_minute:
      break;
  }
  return std::to_string(value);
}

void Limits::narrow(const Limits& other) {
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = std::min(values[i], other.values[i]);
}

}  // namespace weir::policy
