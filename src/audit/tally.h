// What events come to: destinations with their bytes, names asked, refusals. The summary at exit, `weir log --summary`,
// the receipt and `weir policy learn` all count here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "audit/event.h"

namespace weir {
class JsonWriter;
}

namespace weir::audit {

// Somewhere that was reached.
struct Destination {
  // Of one destination; the first that were dialled.
  static constexpr std::size_t kMaxAddresses = 16;

  std::string proto = {};
  std::string name = {};                       // as the guest asked for it; empty for an address that had no name
  std::vector<net::IpAddress> addresses = {};  // without a name exactly one
  std::optional<net::Port> port = {};          // none for ICMP
  std::uint64_t flows = 0;
  std::uint64_t bytes_up = 0;
  std::uint64_t bytes_down = 0;

  // "tcp example.com:443", "udp 192.0.2.1:53", "icmp 192.0.2.1". Not escaped.
  std::string text() const;
};

// A name that the DNS was asked for.
struct AskedName {
  std::string name;
  std::uint64_t answered = 0;
  std::uint64_t refused = 0;
};

// A destination that was refused.
struct RefusedDestination {
  std::string what;  // "evil.example:443"
  std::string reason;
  std::uint64_t times = 0;
};

class Tally {
 public:
  // Of each kind; what comes beyond it is counted by the `_left_out` figures only.
  static constexpr std::size_t kMaxEntries = 4096;

  // `sandbox`: whose event it is, where there may be several: the numbers of flows are a sandbox's own.
  void add(const Event& event, std::string_view sandbox = {});

  // Most bytes first, then most flows.
  std::vector<Destination> destinations() const;
  // By name.
  std::vector<AskedName> names() const;
  // Most frequent first.
  std::vector<RefusedDestination> refused() const;
  // Limits that were reached, in order.
  const std::vector<LimitHit>& limits() const { return limits_; }

  // Flows, questions and refusals of destinations beyond kMaxEntries.
  std::uint64_t left_out() const { return left_out_; }
  bool empty() const { return destinations_.empty() && names_.empty() && refused_.empty() && limits_.empty(); }

 private:
  void open_flow(const Event& event, const std::string& flow);
  void close_flow(const Event& event, const std::string& flow);
  void add_limits(const Event& event);
  void add_question(const Event& event);
  void add_refusal(const Event& event);
  // The entry, or nullptr where there is no room for one more.
  template <class Entry>
  Entry* entry(std::map<std::string, Entry>& entries, const std::string& key);

  std::map<std::string, Destination> destinations_;
  std::map<std::string, std::string> open_;  // flows: which destination they are counted at
  std::map<std::string, AskedName> names_;
  std::map<std::string, RefusedDestination> refused_;
  std::vector<LimitHit> limits_;
  std::uint64_t left_out_ = 0;
};

// What the event is about: "evil.example:443", "[2001:db8::1]:80", "a malformed name". Not escaped.
std::string destination_text(const Event& event);

// Lines for people, with what came from the guest escaped; empty where there is nothing to say.
std::string tally_text(const Tally& tally);
// The members "destinations", "names", "refused", "limits" and "left_out", into an object that is open.
void write_tally(JsonWriter& json, const Tally& tally);

// "1.4 MiB"; exact below a KiB ("900 B").
std::string bytes_text(std::uint64_t bytes);

}  // namespace weir::audit
