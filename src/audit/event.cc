#include "audit/event.h"

#include <algorithm>
#include <array>

#include "base/json.h"

namespace weir::audit {

namespace {

void optional_text(JsonWriter& json, std::string_view name, const std::string& text) {
  if (!text.empty()) json.field(name, std::string_view(text));
}

void optional_number(JsonWriter& json, std::string_view name, const std::optional<std::uint64_t>& number) {
  if (number) json.field(name, *number);
}

// Without printf: every line of the record carries a time.
void append_digits(std::string& text, std::int64_t value, std::size_t width) {
  std::array<char, 6> digits{};
  for (std::size_t i = width; i-- > 0; value /= 10) digits[i] = static_cast<char>('0' + value % 10);
  text.append(digits.data(), width);
}

void write_rule(JsonWriter& json, const Rule& rule) {
  json.key("rule").begin_object();
  json.field("layer", std::string_view(rule.layer));
  json.key("index");
  if (rule.index) {
    json.value(std::uint64_t{*rule.index});
  } else {
    json.null();
  }
  json.field("text", std::string_view(rule.text));
  json.end_object();
}

void write_destination(JsonWriter& json, const Event& event) {
  optional_text(json, "proto", event.proto);
  optional_text(json, "via", event.via);
  optional_text(json, "name", event.name);
  if (event.dst) json.field("dst", std::string_view(event.dst->text()));
  if (event.port) json.field("port", std::uint64_t{*event.port});
  if (event.src) json.field("src", std::string_view(event.src->text()));
  if (event.src_port) json.field("src_port", std::uint64_t{*event.src_port});
  if (event.guest_port) json.field("guest_port", std::uint64_t{*event.guest_port});
  optional_text(json, "verdict", event.verdict);
  if (event.rule) write_rule(json, *event.rule);
  optional_text(json, "reason", event.reason);
}

void write_answer(JsonWriter& json, const Event& event) {
  optional_text(json, "query_type", event.query_type);
  optional_text(json, "rcode", event.rcode);
  if (event.addresses.empty()) return;
  json.key("addresses").begin_array();
  for (const net::IpAddress& address : event.addresses) json.value(std::string_view(address.text()));
  json.end_array();
}

void write_sandbox(JsonWriter& json, const Event& event) {
  optional_text(json, "mode", event.mode);
  optional_text(json, "command", event.command);
  optional_text(json, "floor", event.floor);
  optional_text(json, "cause", event.cause);
  optional_text(json, "path", event.path);
  if (!event.notices.empty()) {
    json.key("notices").begin_array();
    for (const std::string& notice : event.notices) json.value(std::string_view(notice));
    json.end_array();
  }
  if (!event.published.empty()) {
    json.key("published").begin_array();
    for (const std::string& port : event.published) json.value(std::string_view(port));
    json.end_array();
  }
  if (event.exit_code) json.field("exit_code", *event.exit_code);
}

void write_limits(JsonWriter& json, const Event& event) {
  if (event.limits.empty()) return;
  json.key("limits").begin_array();
  for (const LimitHit& hit : event.limits) write_limit(json, hit);
  json.end_array();
}

}  // namespace

void write_limit(JsonWriter& json, const LimitHit& hit) {
  json.begin_object();
  json.field("limit", std::string_view(hit.limit)).field("value", std::string_view(hit.value));
  json.field("times", hit.times).end_object();
}

std::string_view name_of(EventType type) {
  switch (type) {
    case EventType::sandbox_start:
      return "sandbox.start";
    case EventType::sandbox_exit:
      return "sandbox.exit";
    case EventType::sandbox_asleep:
      return "sandbox.asleep";
    case EventType::sandbox_awake:
      return "sandbox.awake";
    case EventType::dns_answer:
      return "dns.answer";
    case EventType::dns_refuse:
      return "dns.refuse";
    case EventType::flow_open:
      return "flow.open";
    case EventType::flow_close:
      return "flow.close";
    case EventType::flow_refuse:
      return "flow.refuse";
    case EventType::limit:
      return "limit";
    case EventType::policy_update:
      return "policy.update";
    case EventType::run_start:
      return "run.start";
    case EventType::run_exit:
      return "run.exit";
  }
  return "";
}

std::span<const EventType> all_types() {
  static constexpr std::array kTypes = {EventType::sandbox_start, EventType::sandbox_exit,  EventType::sandbox_asleep,
                                        EventType::sandbox_awake, EventType::dns_answer,    EventType::dns_refuse,
                                        EventType::flow_open,     EventType::flow_close,    EventType::flow_refuse,
                                        EventType::limit,         EventType::policy_update, EventType::run_start,
                                        EventType::run_exit};
  return kTypes;
}

std::optional<EventType> type_of(std::string_view name) {
  const auto found = std::ranges::find(all_types(), name, name_of);
  if (found == all_types().end()) return std::nullopt;
  return *found;
}

std::string rfc3339(Timestamp time) {
  // Days to civil date, proleptic Gregorian, era of 400 years starting in March (integer arithmetic only: gmtime would
  // need a clock header).
  const std::int64_t days = time.seconds / 86400 - (time.seconds % 86400 < 0 ? 1 : 0);
  const std::int64_t second_of_day = time.seconds - days * 86400;
  const std::int64_t shifted = days + 719468;  // since 0000-03-01
  const std::int64_t era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
  const std::int64_t day_of_era = shifted - era * 146097;
  const std::int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
  const std::int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const std::int64_t month_index = (5 * day_of_year + 2) / 153;  // 0 = March
  const std::int64_t day = day_of_year - (153 * month_index + 2) / 5 + 1;
  const std::int64_t month = month_index < 10 ? month_index + 3 : month_index - 9;
  const std::int64_t year = year_of_era + era * 400 + (month <= 2 ? 1 : 0);
  std::string text;
  const auto append = [&text](std::int64_t value, std::size_t width, char behind) {
    append_digits(text, value, width);
    text += behind;
  };
  append(year, 4, '-');
  append(month, 2, '-');
  append(day, 2, 'T');
  append(second_of_day / 3600, 2, ':');
  append(second_of_day / 60 % 60, 2, ':');
  append(second_of_day % 60, 2, '.');
  append(time.microseconds, 6, 'Z');
  return text;
}

LineWriter::LineWriter(const Envelope& envelope)
    : sandbox_("Z\",\"sandbox\":" + json_string(envelope.sandbox) + ",\"seq\":"),
      policy_("\",\"policy\":" + json_string(envelope.policy)),
      generation_(",\"generation\":" + std::to_string(envelope.generation)) {}

void LineWriter::append(std::string& lines, const Event& event, std::uint64_t sequence, Timestamp time) {
  if (second_ != time.seconds) {
    second_ = time.seconds;
    time_ = "{\"v\":1,\"time\":\"" + rfc3339({.seconds = time.seconds, .microseconds = 0});
    time_.resize(time_.size() - std::string_view("000000Z").size());
  }
  lines += time_;
  append_digits(lines, time.microseconds, 6);
  lines += sandbox_;
  lines += std::to_string(sequence);
  lines += ",\"type\":\"";
  lines += name_of(event.type);
  if (event.run) {
    lines += "\",\"policy\":" + json_string(event.run_policy);
  } else {
    lines += policy_;
  }
  lines += generation_;
  JsonWriter json = JsonWriter::within(std::move(lines));
  optional_number(json, "run", event.run);
  optional_number(json, "flow", event.flow);
  write_destination(json, event);
  write_answer(json, event);
  optional_number(json, "bytes_up", event.bytes_up);
  optional_number(json, "bytes_down", event.bytes_down);
  optional_number(json, "ms", event.ms);
  optional_number(json, "count", event.count);
  optional_text(json, "error", event.error);
  write_sandbox(json, event);
  write_limits(json, event);
  json.end_object();
  lines = json.take();
  lines += '\n';
}

std::string roll_up_key(const Event& event) {
  std::string key(name_of(event.type));
  for (const std::string_view part :
       {std::string_view(event.proto), std::string_view(event.via), std::string_view(event.name),
        std::string_view(event.reason), std::string_view(event.query_type), std::string_view(event.rcode)}) {
    key += '\0';
    key += part;
  }
  for (const net::IpAddress& address : event.addresses) key += "," + address.text();
  if (event.rule) {
    key += "#" + event.rule->layer;
    if (event.rule->index) key += std::to_string(*event.rule->index);
  }
  for (const LimitHit& hit : event.limits) key += "!" + hit.limit;
  if (event.dst) key += as_text(event.dst->bytes());
  if (event.port) key += ":" + std::to_string(*event.port);
  if (event.src) key += as_text(event.src->bytes());
  if (event.run) key += "@" + std::to_string(*event.run);
  return key;
}

}  // namespace weir::audit
