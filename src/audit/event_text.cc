#include "audit/event_text.h"

#include <algorithm>

#include "audit/tally.h"
#include "base/failure_line.h"
#include "base/spelling.h"
#include "net/domain_name.h"

namespace weir::audit {

namespace {

constexpr std::size_t kShownHash = 12;

std::string destination(const Event& event) {
  std::string text = event.proto + " " + destination_text(event);
  if (!event.name.empty() && event.dst) text += " " + event.dst->text();
  return text;
}

std::string answer(const Event& event) {
  std::string text = event.query_type + " " + (event.name.empty() ? "a malformed name" : event.name);
  if (event.type == EventType::dns_answer) text += " " + event.rcode;
  for (std::size_t i = 0; i < event.addresses.size(); ++i) text += (i == 0 ? " " : ",") + event.addresses[i].text();
  return text;
}

std::string limits(const Event& event) {
  std::string text;
  for (const LimitHit& hit : event.limits) text += (text.empty() ? "" : ", ") + hit.limit + " " + hit.value;
  return text;
}

std::string refused(const Event& event) {
  std::string text = " (" + event.reason;
  if (event.rule && !event.rule->text.empty()) text += ": " + event.rule->text;
  if (!event.limits.empty()) text += ": " + limits(event);
  return text + ")";
}

// Of the machine, of one flow or name, or of all of them.
std::string reached(const Event& event) {
  if (!event.proto.empty()) return limits(event) + ", " + destination(event);
  return limits(event) + (event.name.empty() ? "" : ", " + event.name);
}

std::string end_of_flow(const Event& event) {
  std::string text = destination(event) + " up " + bytes_text(event.bytes_up.value_or(0)) + " down " +
                     bytes_text(event.bytes_down.value_or(0));
  if (event.ms) text += " " + std::to_string(*event.ms) + " ms";
  return text;
}

std::string cause(const Event& event) {
  if (event.cause.empty()) return "";
  return " (" + event.cause + (event.path.empty() ? "" : " " + event.path) + ")";
}

std::string body(const Event& event) {
  switch (event.type) {
    case EventType::sandbox_start:
      return "start   " + event.command + ", mode " + event.mode;
    case EventType::sandbox_exit:
      return "exit    " + std::to_string(event.exit_code.value_or(0)) +
             (event.limits.empty() ? "" : " (" + limits(event) + ")");
    case EventType::sandbox_asleep:
      return event.error.empty() ? "asleep" : "asleep  still: " + event.error;
    case EventType::sandbox_awake:
      return "awake   " + (event.error.empty() ? "mode " + event.mode : "still: " + event.error);
    case EventType::dns_answer:
      return "answer  " + answer(event);
    case EventType::dns_refuse:
      return "refuse  " + answer(event) + refused(event);
    case EventType::flow_open:
      return "open    " + destination(event);
    case EventType::flow_close:
      return "close   " + end_of_flow(event) + (event.reason.empty() ? "" : refused(event));
    case EventType::flow_refuse:
      return "refuse  " + destination(event) + refused(event);
    case EventType::limit:
      return "limit   " + reached(event);
    case EventType::policy_update:
      return "policy  narrowed, mode " + event.mode + cause(event);
    case EventType::run_start:
      return "begin   " + event.command + ", mode " + event.mode;
    case EventType::run_exit:
      return "end     " + std::to_string(event.exit_code.value_or(0));
  }
  return "";
}

bool is_family(std::string_view type, std::string_view family) {
  return type.size() > family.size() && type.starts_with(family) && type[family.size()] == '.';
}

// "allow" also for what says it without the word.
std::string_view verdict_of(const Event& event) {
  if (!event.verdict.empty()) return event.verdict;
  return event.type == EventType::dns_answer ? "allow" : "";
}

bool name_matches(std::string_view pattern, std::string_view name) {
  if (pattern.starts_with("*.")) return name.size() > pattern.size() - 1 && name.ends_with(pattern.substr(1));
  if (!pattern.starts_with('.')) return name == pattern;
  return name == pattern.substr(1) || (name.size() > pattern.size() && name.ends_with(pattern));
}

}  // namespace

std::string event_text(const RecordedEvent& recorded) {
  const Event& event = recorded.event;
  const std::string run = event.run ? " run " + std::to_string(*event.run) : "";
  std::string text = recorded.time + " " + recorded.sandbox + run + " " + body(event);
  if (event.type == EventType::sandbox_start || event.type == EventType::run_start)
    text += ", policy " + recorded.policy.substr(0, kShownHash);
  if (!event.error.empty()) text += ": " + event.error;
  if (event.count) text += ", " + std::to_string(*event.count) + " times";
  return printable(text);
}

Result<> EventFilter::add_type(std::string_view text) {
  const std::size_t before = types_.size();
  std::vector<std::string_view> known;
  for (const EventType type : all_types()) {
    if (name_of(type) == text || is_family(name_of(type), text)) types_.push_back(type);
    known.push_back(name_of(type));
  }
  if (types_.size() != before) return {};
  const std::string_view near = nearest_spelling(text, known);
  return std::unexpected(Error("no event has the type '" + printable(text) + "'")
                             .with_remedy(near.empty() ? "write flow, dns, sandbox, limit, or a whole type: flow.refuse"
                                                       : "write " + std::string(near)));
}

Result<> EventFilter::add_name(std::string_view text) {
  if (const auto address = net::IpAddress::parse(text)) {
    addresses_.push_back(*address);
    return {};
  }
  const std::string_view prefix = text.substr(0, text.starts_with("*.") ? 2 : text.starts_with('.') ? 1 : 0);
  auto name = net::DomainName::parse(text.substr(prefix.size()));
  if (!name) {
    return std::unexpected(
        Error("'" + printable(text) + "' is neither a name nor an address")
            .with_remedy("write example.com, *.example.com, .example.com or 192.0.2.7; a Unicode name as A-labels"));
  }
  names_.push_back(std::string(prefix) + name->text());
  return {};
}

Result<> EventFilter::set_verdict(std::string_view text) {
  if (text != "allow" && text != "refuse") {
    return std::unexpected(Error("'" + printable(text) + "' is no verdict").with_remedy("write allow or refuse"));
  }
  verdict_ = text;
  return {};
}

bool EventFilter::passes(const Event& event) const {
  if (!types_.empty() && std::ranges::find(types_, event.type) == types_.end()) return false;
  if (verdict_ && verdict_of(event) != *verdict_) return false;
  return (names_.empty() && addresses_.empty()) || passes_name(event);
}

bool EventFilter::passes_name(const Event& event) const {
  const auto is_it = [&event](const std::string& pattern) { return name_matches(pattern, event.name); };
  if (!event.name.empty() && std::ranges::any_of(names_, is_it)) return true;
  return std::ranges::any_of(addresses_, [&event](const net::IpAddress& address) {
    return event.dst == address || std::ranges::find(event.addresses, address) != event.addresses.end();
  });
}

}  // namespace weir::audit
