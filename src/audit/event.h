// The audit stream: one JSON object a line (interfaces.md section 2, docs/events.schema.json).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "net/ip_address.h"

namespace weir {
class JsonWriter;
}

namespace weir::audit {

enum class EventType : std::uint8_t {
  sandbox_start,
  sandbox_exit,
  sandbox_asleep,
  sandbox_awake,
  dns_answer,
  dns_refuse,
  flow_open,
  flow_close,
  flow_refuse,
  limit,
  policy_update,
  run_start,
  run_exit,
};
std::string_view name_of(EventType type);
constexpr bool is_refusal(EventType type) {
  return type == EventType::flow_refuse || type == EventType::dns_refuse;
}
// Nothing where no type is spelled so.
std::optional<EventType> type_of(std::string_view name);
// Every type, in the order of the schema.
std::span<const EventType> all_types();

// Which entry of which layer decided; `text` as its author wrote it, empty where a default decided.
struct Rule {
  std::string layer;
  std::optional<std::uint32_t> index;
  std::string text;
};

// A limit that was reached.
struct LimitHit {
  std::string limit;  // "memory", "pids", "disk", "timeout", or a key of the policy's [limits]
  std::string value;  // as --memory and the others take it, or the policy
  std::uint64_t times = 1;
};

// `via` of a connection from outside to a published port.
inline constexpr std::string_view kViaPublish = "publish";

// Fields that do not apply stay empty and are left out.
struct Event {
  EventType type = EventType::flow_open;
  // Of a process of a session that has a narrower network of its own: which, counted from 1, and the policy that
  // decides for it, which then stands instead of the envelope's.
  std::optional<std::uint64_t> run = {};
  std::string run_policy = {};
  std::string proto;  // "tcp", "udp", "icmp"
  std::string via;
  std::string name;
  std::optional<net::IpAddress> dst;
  std::optional<net::Port> port;
  // A connection from outside to a published port (`dst`, `port`): who came, and the port inside that it leads to.
  std::optional<net::IpAddress> src = {};
  std::optional<net::Port> src_port = {};
  std::optional<net::Port> guest_port = {};
  std::string verdict;  // "allow", "refuse"
  std::optional<Rule> rule;
  std::string reason;
  std::string query_type;
  std::string rcode;
  std::vector<net::IpAddress> addresses;
  std::optional<std::uint64_t> flow;
  std::optional<std::uint64_t> bytes_up;
  std::optional<std::uint64_t> bytes_down;
  std::optional<std::uint64_t> ms;
  std::optional<std::uint64_t> count;  // attempts this event stands for, when more than one
  // Upstream trouble: an errno's name. sandbox.asleep: why it could not be woken; sandbox.awake: why it stays awake.
  std::string error;
  // sandbox.start and sandbox.exit, run.start and run.exit; mode and notices also policy.update and sandbox.awake
  std::string mode;
  std::string command;
  std::string floor;
  std::vector<std::string> notices;
  std::vector<std::string> published = {};  // "127.0.0.1:8080:80/tcp"
  // policy.update: "control", "seal", "descriptor", "sensitive", and the file of the last.
  std::string cause = {};
  std::string path = {};
  std::optional<std::int64_t> exit_code;
  std::vector<LimitHit> limits = {};  // limit, and what is refused by one: exactly one; sandbox.exit: of the machine
};

// What every event of a sandbox carries.
struct Envelope {
  std::string sandbox;
  std::string policy;
  std::uint64_t generation = 1;
};

// {"limit": "pids", "value": "256", "times": 3}
void write_limit(JsonWriter& json, const LimitHit& hit);

// Wall-clock time, handed in: this room has no clock.
struct Timestamp {
  std::int64_t seconds = 0;  // since 1970 UTC
  std::uint32_t microseconds = 0;
};
// RFC 3339, UTC, six digits: "2026-01-31T23:59:59.000001Z".
std::string rfc3339(Timestamp time);

// Writes the lines of one sandbox. What they have in common is put into words once.
class LineWriter {
 public:
  explicit LineWriter(const Envelope& envelope);

  // Appends the line, newline included.
  void append(std::string& lines, const Event& event, std::uint64_t sequence, Timestamp time);

 private:
  std::string sandbox_;  // what stands between the time and the number
  std::string policy_;   // what stands behind the type
  std::string generation_;
  std::optional<std::int64_t> second_;
  std::string time_;  // that second: what stands before the microseconds
};

// Two refusals or answers with the same key within a second are one event with a count: it holds all that they say but
// the flow.
std::string roll_up_key(const Event& event);

}  // namespace weir::audit
