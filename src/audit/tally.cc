#include "audit/tally.h"

#include <algorithm>
#include <array>
#include <tuple>

#include "base/failure_line.h"
#include "base/json.h"

namespace weir::audit {

namespace {

// Columns of tally_text().
constexpr std::size_t kWidestName = 48;
constexpr std::size_t kWideNumber = 10;

std::string host_and_port(const std::string& name, const std::optional<net::IpAddress>& address,
                          const std::optional<net::Port>& port) {
  std::string host = name.empty() && address ? address->text() : name;
  if (host.empty() || !port) return host;
  const bool bare_v6 = name.empty() && !address->is_v4();
  return (bare_v6 ? "[" + host + "]" : host) + ":" + std::to_string(*port);
}

std::string padded(std::string text, std::size_t width) {
  text.append(text.size() < width ? width - text.size() : 0, ' ');
  return text + " ";
}

std::string right(const std::string& text, std::size_t width) {
  return std::string(text.size() < width ? width - text.size() : 0, ' ') + text + " ";
}

std::string times_text(std::uint64_t times) {
  return times == 1 ? "once" : std::to_string(times) + " times";
}

std::string key_of(const Event& event) {
  const std::string host = event.name.empty() && event.dst ? event.dst->text() : event.name;
  return event.proto + '\0' + host + '\0' + (event.port ? std::to_string(*event.port) : "");
}

void describe(Destination& entry, const Event& event) {
  entry.proto = event.proto;
  entry.name = event.name;
  if (event.dst && entry.addresses.size() < Destination::kMaxAddresses &&
      std::ranges::find(entry.addresses, *event.dst) == entry.addresses.end())
    entry.addresses.push_back(*event.dst);
  entry.port = event.port;
}

template <class Entry>
std::vector<Entry> values_of(const std::map<std::string, Entry>& entries) {
  std::vector<Entry> values;
  for (const auto& [key, entry] : entries) values.push_back(entry);
  return values;
}

void write_destination(JsonWriter& json, const Destination& entry) {
  json.begin_object().field("proto", std::string_view(entry.proto));
  if (!entry.name.empty()) json.field("name", std::string_view(entry.name));
  json.key("addresses").begin_array();
  for (const net::IpAddress& address : entry.addresses) json.value(std::string_view(address.text()));
  json.end_array();
  if (entry.port) json.field("port", std::uint64_t{*entry.port});
  json.field("flows", entry.flows).field("bytes_up", entry.bytes_up).field("bytes_down", entry.bytes_down).end_object();
}

std::string destinations_text(const Tally& tally) {
  const std::vector<Destination> entries = tally.destinations();
  if (entries.empty()) return "";
  std::size_t width = std::string_view("destination").size();
  for (const Destination& entry : entries) width = std::max(width, std::min(entry.text().size(), kWidestName));
  std::string text = padded("destination", width) + right("flows", kWideNumber) + right("up", kWideNumber) + " " +
                     right("down", kWideNumber) + "\n";
  for (const Destination& entry : entries) {
    text += padded(printable(entry.text()), width) + right(std::to_string(entry.flows), kWideNumber) +
            right(bytes_text(entry.bytes_up), kWideNumber) + " " + right(bytes_text(entry.bytes_down), kWideNumber) +
            "\n";
  }
  return text;
}

}  // namespace

std::string Destination::text() const {
  const auto first = addresses.empty() ? std::nullopt : std::optional(addresses.front());
  const std::string host = host_and_port(name, first, port);
  return proto.empty() ? host : proto + " " + host;
}

std::string destination_text(const Event& event) {
  std::string host = host_and_port(event.name, event.dst, event.port);
  if (!host.empty()) return host;
  return event.proto.empty() ? "a malformed name" : event.proto;
}

template <class Entry>
Entry* Tally::entry(std::map<std::string, Entry>& entries, const std::string& key) {
  if (entries.size() < kMaxEntries || entries.contains(key)) return &entries[key];
  ++left_out_;
  return nullptr;
}

void Tally::add(const Event& event, std::string_view sandbox) {
  // Somebody came in: nowhere that the sandbox went, and nothing to learn a policy from.
  const bool is_flow = event.type == EventType::flow_open || event.type == EventType::flow_close;
  if (is_flow && event.via == kViaPublish) return;
  const auto flow = [&] {
    return std::string(sandbox) + '\0' + std::to_string(event.run.value_or(0)) + '\0' +
           std::to_string(event.flow.value_or(0));
  };
  switch (event.type) {
    case EventType::flow_open:
      return open_flow(event, flow());
    case EventType::flow_close:
      return close_flow(event, flow());
    case EventType::dns_answer:
      return add_question(event);
    case EventType::dns_refuse:
      add_question(event);
      return add_refusal(event);
    case EventType::flow_refuse:
      return add_refusal(event);
    case EventType::limit:
      return add_limits(event);
    case EventType::policy_update:
    case EventType::run_start:
    case EventType::run_exit:
    case EventType::sandbox_start:
    case EventType::sandbox_exit:
    case EventType::sandbox_asleep:
    case EventType::sandbox_awake:
      return;
  }
}

void Tally::open_flow(const Event& event, const std::string& flow) {
  const std::string key = key_of(event);
  Destination* const entry = this->entry(destinations_, key);
  if (entry == nullptr) return;
  describe(*entry, event);
  ++entry->flows;
  if (open_.size() < kMaxEntries) open_[flow] = key;
}

// A flow may have got its name after it was opened, from its first bytes: it then counts where it ended.
void Tally::close_flow(const Event& event, const std::string& flow) {
  const std::string key = key_of(event);
  const auto opened = open_.extract(flow);
  const bool moved = !opened.empty() && opened.mapped() != key;
  if (moved) {
    const auto before = destinations_.find(opened.mapped());
    if (before != destinations_.end() && --before->second.flows == 0) destinations_.erase(before);
  }
  Destination* const entry = this->entry(destinations_, key);
  if (entry == nullptr) return;
  describe(*entry, event);
  if (moved) ++entry->flows;
  entry->bytes_up += event.bytes_up.value_or(0);
  entry->bytes_down += event.bytes_down.value_or(0);
}

// The same one at many destinations is one.
void Tally::add_limits(const Event& event) {
  for (const LimitHit& hit : event.limits) {
    const auto same = std::ranges::find_if(
        limits_, [&](const auto& each) { return each.limit == hit.limit && each.value == hit.value; });
    const std::uint64_t times = hit.times * event.count.value_or(1);
    if (same != limits_.end()) {
      same->times += times;
    } else if (limits_.size() < kMaxEntries) {
      limits_.push_back({.limit = hit.limit, .value = hit.value, .times = times});
    }
  }
}

void Tally::add_question(const Event& event) {
  AskedName* const entry = this->entry(names_, event.name);
  if (entry == nullptr) return;
  entry->name = event.name;
  (event.type == EventType::dns_refuse ? entry->refused : entry->answered) += event.count.value_or(1);
}

void Tally::add_refusal(const Event& event) {
  const std::string what = destination_text(event);
  RefusedDestination* const entry = this->entry(refused_, what + '\0' + event.reason);
  if (entry == nullptr) return;
  entry->what = what;
  entry->reason = event.reason;
  entry->times += event.count.value_or(1);
}

std::vector<Destination> Tally::destinations() const {
  std::vector<Destination> all = values_of(destinations_);
  std::ranges::sort(all, [](const Destination& left, const Destination& right) {
    const auto rank = [](const Destination& entry) {
      return std::tuple(~(entry.bytes_up + entry.bytes_down), ~entry.flows, entry.text());
    };
    return rank(left) < rank(right);
  });
  return all;
}

std::vector<AskedName> Tally::names() const {
  return values_of(names_);
}

std::vector<RefusedDestination> Tally::refused() const {
  std::vector<RefusedDestination> all = values_of(refused_);
  std::ranges::sort(all, [](const auto& left, const auto& right) {
    return left.times != right.times ? left.times > right.times : left.what < right.what;
  });
  return all;
}

std::string tally_text(const Tally& tally) {
  std::string text = destinations_text(tally);
  const auto part = [&text](std::string_view title) {
    if (!text.empty()) text += "\n";
    text += title;
    text += "\n";
  };
  if (const auto names = tally.names(); !names.empty()) {
    part("names asked");
    for (const AskedName& name : names) {
      text += "  " + printable(name.name.empty() ? "a malformed name" : name.name) + "  ";
      if (name.answered != 0) text += "answered " + times_text(name.answered);
      if (name.answered != 0 && name.refused != 0) text += ", ";
      if (name.refused != 0) text += "refused " + times_text(name.refused);
      text += "\n";
    }
  }
  if (const auto refused = tally.refused(); !refused.empty()) {
    part("refused");
    for (const RefusedDestination& entry : refused) {
      text += "  " + printable(entry.what) + "  " + printable(entry.reason) + ", " + times_text(entry.times) + "\n";
    }
  }
  if (!tally.limits().empty()) {
    part("limits reached");
    for (const LimitHit& hit : tally.limits())
      text += "  " + hit.limit + " " + hit.value + ", " + times_text(hit.times) + "\n";
  }
  if (tally.left_out() != 0) part("and " + std::to_string(tally.left_out()) + " more that are not told apart");
  return text;
}

void write_tally(JsonWriter& json, const Tally& tally) {
  json.key("destinations").begin_array();
  for (const Destination& entry : tally.destinations()) write_destination(json, entry);
  json.end_array().key("names").begin_array();
  for (const AskedName& entry : tally.names()) {
    json.begin_object().field("name", std::string_view(entry.name));
    json.field("answered", entry.answered).field("refused", entry.refused).end_object();
  }
  json.end_array().key("refused").begin_array();
  for (const RefusedDestination& entry : tally.refused()) {
    json.begin_object().field("destination", std::string_view(entry.what));
    json.field("reason", std::string_view(entry.reason)).field("times", entry.times).end_object();
  }
  json.end_array().key("limits").begin_array();
  for (const LimitHit& hit : tally.limits()) write_limit(json, hit);
  json.end_array().field("left_out", tally.left_out());
}

std::string bytes_text(std::uint64_t bytes) {
  constexpr std::array<std::string_view, 6> kUnits = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  if (bytes < 1024) return std::to_string(bytes) + " B";
  std::size_t unit = 1;
  for (; bytes >= 1024ull * 1024 && unit + 1 < kUnits.size(); bytes /= 1024) ++unit;
  const std::uint64_t tenths = bytes * 10 / 1024;
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " " + std::string(kUnits[unit]);
}

}  // namespace weir::audit
