// Events for people: one line each, and which of them are wanted.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "audit/event_line.h"
#include "base/error.h"

namespace weir::audit {

// Without a newline. What came from the guest is escaped: the line stays one line and does not speak to a terminal.
std::string event_text(const RecordedEvent& recorded);

// What `weir log` is asked for. An event passes when it is one of each kind that was named.
class EventFilter {
 public:
  // "flow.refuse", or a family: "flow", "dns", "sandbox". Errors name the nearest type.
  Result<> add_type(std::string_view text);
  // "example.com", "*.example.com" (below it), ".example.com" (both), or an address.
  Result<> add_name(std::string_view text);
  // "allow" or "refuse".
  Result<> set_verdict(std::string_view text);

  bool passes(const Event& event) const;

 private:
  bool passes_name(const Event& event) const;

  std::vector<EventType> types_;
  std::vector<std::string> names_;
  std::vector<net::IpAddress> addresses_;
  std::optional<std::string> verdict_;
};

}  // namespace weir::audit
