// Counters for Prometheus. No name of a session, a token or a file is in them.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace weir::daemon {

struct Metrics {
  std::uint64_t connections_total = 0;
  std::uint64_t connections_refused = 0;  // beyond the limit
  std::uint64_t connections_open = 0;
  std::uint64_t requests_running = 0;
  std::uint64_t sessions_created = 0;
  std::uint64_t bytes_sent = 0;
  // By endpoint and status: both out of closed lists.
  std::map<std::string, std::map<unsigned, std::uint64_t>, std::less<>> requests = {};
  // Seconds that requests took, all together.
  double seconds_total = 0;

  void count(std::string_view endpoint, unsigned status, double seconds);
  // The text format, version 0.0.4.
  std::string text() const;
};

}  // namespace weir::daemon
