#include "daemon/metrics.h"

#include <array>
#include <cstdio>

namespace weir::daemon {

namespace {

void line(std::string& text, std::string_view name, std::string_view type, std::string_view help, std::uint64_t value) {
  text += "# HELP " + std::string(name) + " " + std::string(help) + "\n# TYPE " + std::string(name) + " " +
          std::string(type) + "\n" + std::string(name) + " " + std::to_string(value) + "\n";
}

}  // namespace

void Metrics::count(std::string_view endpoint, unsigned status, double seconds) {
  ++requests[std::string(endpoint)][status];
  seconds_total += seconds;
}

std::string Metrics::text() const {
  std::string text;
  line(text, "weir_connections_total", "counter", "Connections that were accepted.", connections_total);
  line(text, "weir_connections_refused_total", "counter", "Connections beyond the limit.", connections_refused);
  line(text, "weir_connections", "gauge", "Connections that are open.", connections_open);
  line(text, "weir_requests_running", "gauge", "Requests that are being answered.", requests_running);
  line(text, "weir_sessions_created_total", "counter", "Sessions made through this daemon.", sessions_created);
  line(text, "weir_sent_bytes_total", "counter", "Bytes sent to callers.", bytes_sent);
  text += "# HELP weir_requests_total Requests answered.\n# TYPE weir_requests_total counter\n";
  for (const auto& [endpoint, statuses] : requests) {
    for (const auto& [status, times] : statuses) {
      text += "weir_requests_total{endpoint=\"" + endpoint + "\",status=\"" + std::to_string(status) + "\"} " +
              std::to_string(times) + "\n";
    }
  }
  std::array<char, 48> seconds{};
  std::snprintf(seconds.data(), seconds.size(), "%.6f", seconds_total);
  text +=
      "# HELP weir_request_seconds_total Time that requests took, all together.\n"
      "# TYPE weir_request_seconds_total counter\nweir_request_seconds_total " +
      std::string(seconds.data()) + "\n";
  return text;
}

}  // namespace weir::daemon
