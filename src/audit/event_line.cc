#include "audit/event_line.h"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "base/failure_line.h"
#include "base/json_document.h"

namespace weir::audit {

namespace {

constexpr std::size_t kMaxText = 4096;
constexpr std::size_t kMaxSandbox = 64;
constexpr std::size_t kMaxHash = 64;
constexpr std::size_t kMaxToken = 32;
constexpr std::size_t kMaxAddresses = 32;
constexpr std::size_t kMaxLimits = 64;
constexpr std::size_t kMaxTexts = 4096;

bool is_lower(char c) {
  return c >= 'a' && c <= 'z';
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_alphanumeric(char c) {
  return is_lower(c) || is_digit(c) || (c >= 'A' && c <= 'Z');
}
bool is_hex(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'f');
}

std::unexpected<Error> wrong(std::string_view key, std::string_view why) {
  return fail(std::string(key) + " " + std::string(why));
}

Result<std::string> text(const Json& value, std::string_view key, std::size_t longest = kMaxText) {
  if (!value.is_string()) return wrong(key, "is no text");
  auto found = value.get<std::string>();
  // The bound of the schema counts characters; bytes are at most four times as many.
  if (found.size() > 4 * longest) return wrong(key, "is too long");
  return found;
}

// "tcp", "no-rule": what weir itself spells.
Result<std::string> token(const Json& value, std::string_view key) {
  WEIR_TRY(std::string found, text(value, key));
  const bool good = !found.empty() && found.size() <= kMaxToken &&
                    std::ranges::all_of(found, [](char c) { return is_lower(c) || is_digit(c) || c == '-'; });
  if (!good) return wrong(key, "is no word of weir's");
  return found;
}

Result<std::string> upper_token(const Json& value, std::string_view key) {
  WEIR_TRY(std::string found, text(value, key));
  const bool good = !found.empty() && found.size() <= kMaxToken &&
                    std::ranges::all_of(found, [](char c) { return (c >= 'A' && c <= 'Z') || is_digit(c); });
  if (!good) return wrong(key, "is no word of the DNS");
  return found;
}

Result<std::uint64_t> number(const Json& value, std::string_view key) {
  if (!value.is_number_unsigned()) return wrong(key, "is no whole number");
  return value.get<std::uint64_t>();
}

Result<net::IpAddress> address(const Json& value, std::string_view key) {
  WEIR_TRY(const std::string found, text(value, key));
  auto parsed = net::IpAddress::parse(found);
  if (!parsed || parsed->text() != found) return wrong(key, "is no address in canonical text");
  return *parsed;
}

Result<const Json*> list(const Json& value, std::string_view key, std::size_t longest) {
  if (!value.is_array()) return wrong(key, "is no list");
  if (value.size() > longest) return wrong(key, "is too long");
  return &value;
}

// "2026-01-31T23:59:59.000001Z"
Result<std::string> time(const Json& value, std::string_view key) {
  constexpr std::string_view kForm = "0000-00-00T00:00:00.000000Z";
  WEIR_TRY(std::string found, text(value, key));
  bool good = found.size() == kForm.size();
  for (std::size_t i = 0; good && i < kForm.size(); ++i) {
    good = kForm[i] == '0' ? is_digit(found[i]) : found[i] == kForm[i];
  }
  if (!good) return wrong(key, "is no time");
  return found;
}

template <class Allowed>
Result<std::string> word(const Json& value, std::string_view key, std::size_t shortest, std::size_t longest,
                         Allowed allowed) {
  WEIR_TRY(std::string found, text(value, key));
  if (found.size() < shortest || found.size() > longest || !std::ranges::all_of(found, allowed))
    return wrong(key, "is not as weir writes it");
  return found;
}

Result<EventType> event_type(const Json& value) {
  WEIR_TRY(const std::string found, text(value, "type"));
  if (const auto type = type_of(found)) return *type;
  return fail("the type '" + printable(found.substr(0, kMaxToken)) + "' is unknown");
}

Result<Rule> rule(const Json& value) {
  if (!value.is_object() || value.size() != 3) return wrong("rule", "is no rule");
  const Json* layer = json_member(value, "layer");
  const Json* said = json_member(value, "text");
  const auto index = value.find("index");
  if (layer == nullptr || said == nullptr || index == value.end()) return wrong("rule", "is no rule");
  Rule rule;
  WEIR_TRY(rule.layer, word(*layer, "rule.layer", 0, kMaxToken, is_lower));
  WEIR_TRY(rule.text, text(*said, "rule.text"));
  if (index->is_null()) return rule;
  WEIR_TRY(const std::uint64_t place, number(*index, "rule.index"));
  if (place > std::numeric_limits<std::uint32_t>::max()) return wrong("rule.index", "is too large");
  rule.index = static_cast<std::uint32_t>(place);
  return rule;
}

Result<LimitHit> limit(const Json& value) {
  if (!value.is_object() || value.size() != 3) return wrong("limits", "holds something that is no limit");
  const Json* name = json_member(value, "limit");
  const Json* bound = json_member(value, "value");
  const Json* times = json_member(value, "times");
  if (name == nullptr || bound == nullptr || times == nullptr)
    return wrong("limits", "holds something that is no limit");
  LimitHit hit;
  // Underscores: those of [limits] in a policy.
  const auto spelled = [](char c) { return is_lower(c) || is_digit(c) || c == '-' || c == '_'; };
  WEIR_TRY(hit.limit, word(*name, "limit", 1, kMaxToken, spelled));
  // "512M", "1.5", "100Mbit/s"
  const auto written = [](char c) { return is_alphanumeric(c) || c == '.' || c == '/'; };
  WEIR_TRY(hit.value, word(*bound, "value", 1, kMaxSandbox, written));
  WEIR_TRY(hit.times, number(*times, "times"));
  return hit;
}

// A member of the line: where it goes.
struct Field {
  const char* key;
  Result<> (*take)(RecordedEvent&, const Json&, std::string_view key);
};

template <std::string Event::* Member, auto Parse>
Result<> take_text(RecordedEvent& line, const Json& value, std::string_view key) {
  WEIR_TRY(line.event.*Member, Parse(value, key));
  return {};
}

template <std::optional<std::uint64_t> Event::* Member>
Result<> take_number(RecordedEvent& line, const Json& value, std::string_view key) {
  WEIR_TRY(line.event.*Member, number(value, key));
  return {};
}

Result<std::string> any_text(const Json& value, std::string_view key) {
  return text(value, key);
}

Result<> take_version(RecordedEvent&, const Json& value, std::string_view key) {
  WEIR_TRY(const std::uint64_t version, number(value, key));
  if (version != 1) return wrong(key, "is " + std::to_string(version) + ": another version of weir wrote this");
  return {};
}
Result<> take_time(RecordedEvent& line, const Json& value, std::string_view key) {
  WEIR_TRY(line.time, time(value, key));
  return {};
}
Result<> take_sandbox(RecordedEvent& line, const Json& value, std::string_view key) {
  const auto spelled = [](char c) { return is_alphanumeric(c) || c == '.' || c == '_' || c == '-'; };
  WEIR_TRY(line.sandbox, word(value, key, 1, kMaxSandbox, spelled));
  return {};
}
Result<> take_sequence(RecordedEvent& line, const Json& value, std::string_view key) {
  WEIR_TRY(line.sequence, number(value, key));
  return {};
}
Result<> take_type(RecordedEvent& line, const Json& value, std::string_view) {
  WEIR_TRY(line.event.type, event_type(value));
  return {};
}
Result<> take_policy(RecordedEvent& line, const Json& value, std::string_view key) {
  WEIR_TRY(line.policy, word(value, key, 0, kMaxHash, is_hex));
  return {};
}
Result<> take_generation(RecordedEvent& line, const Json& value, std::string_view key) {
  WEIR_TRY(line.generation, number(value, key));
  return {};
}
template <std::optional<net::IpAddress> Event::* Member>
Result<> take_address(RecordedEvent& line, const Json& value, std::string_view key) {
  WEIR_TRY(line.event.*Member, address(value, key));
  return {};
}
template <std::optional<net::Port> Event::* Member>
Result<> take_port(RecordedEvent& line, const Json& value, std::string_view key) {
  WEIR_TRY(const std::uint64_t port, number(value, key));
  if (port > std::numeric_limits<net::Port>::max()) return wrong(key, "is too large");
  line.event.*Member = static_cast<net::Port>(port);
  return {};
}
Result<> take_rule(RecordedEvent& line, const Json& value, std::string_view) {
  WEIR_TRY(line.event.rule, rule(value));
  return {};
}
Result<> take_addresses(RecordedEvent& line, const Json& value, std::string_view key) {
  WEIR_TRY(const Json* const items, list(value, key, kMaxAddresses));
  for (const Json& item : *items) {
    WEIR_TRY(const net::IpAddress found, address(item, key));
    line.event.addresses.push_back(found);
  }
  return {};
}
template <std::vector<std::string> Event::* Member>
Result<> take_texts(RecordedEvent& line, const Json& value, std::string_view key) {
  WEIR_TRY(const Json* const items, list(value, key, kMaxTexts));
  for (const Json& item : *items) {
    WEIR_TRY(std::string found, text(item, key));
    (line.event.*Member).push_back(std::move(found));
  }
  return {};
}
Result<> take_limits(RecordedEvent& line, const Json& value, std::string_view key) {
  WEIR_TRY(const Json* const items, list(value, key, kMaxLimits));
  for (const Json& item : *items) {
    WEIR_TRY(LimitHit hit, limit(item));
    line.event.limits.push_back(std::move(hit));
  }
  return {};
}
Result<> take_exit_code(RecordedEvent& line, const Json& value, std::string_view key) {
  if (!value.is_number_integer()) return wrong(key, "is no whole number");
  line.event.exit_code = value.get<std::int64_t>();
  return {};
}

// The first of them are in every line.
constexpr std::size_t kRequired = 7;
constexpr std::array kFields = {
    Field{"v", take_version},
    Field{"time", take_time},
    Field{"sandbox", take_sandbox},
    Field{"seq", take_sequence},
    Field{"type", take_type},
    Field{"policy", take_policy},
    Field{"generation", take_generation},
    Field{"run", take_number<&Event::run>},
    Field{"flow", take_number<&Event::flow>},
    Field{"proto", take_text<&Event::proto, token>},
    Field{"via", take_text<&Event::via, token>},
    Field{"name", take_text<&Event::name, any_text>},
    Field{"dst", take_address<&Event::dst>},
    Field{"port", take_port<&Event::port>},
    Field{"src", take_address<&Event::src>},
    Field{"src_port", take_port<&Event::src_port>},
    Field{"guest_port", take_port<&Event::guest_port>},
    Field{"published", take_texts<&Event::published>},
    Field{"verdict", take_text<&Event::verdict, token>},
    Field{"rule", take_rule},
    Field{"reason", take_text<&Event::reason, token>},
    Field{"query_type", take_text<&Event::query_type, upper_token>},
    Field{"rcode", take_text<&Event::rcode, upper_token>},
    Field{"addresses", take_addresses},
    Field{"bytes_up", take_number<&Event::bytes_up>},
    Field{"bytes_down", take_number<&Event::bytes_down>},
    Field{"ms", take_number<&Event::ms>},
    Field{"count", take_number<&Event::count>},
    Field{"error", take_text<&Event::error, any_text>},
    Field{"mode", take_text<&Event::mode, token>},
    Field{"command", take_text<&Event::command, any_text>},
    Field{"floor", take_text<&Event::floor, any_text>},
    Field{"cause", take_text<&Event::cause, token>},
    Field{"path", take_text<&Event::path, any_text>},
    Field{"notices", take_texts<&Event::notices>},
    Field{"exit_code", take_exit_code},
    Field{"limits", take_limits},
};

// What a reader of the line relies on.
Result<> check_whole(const Event& event) {
  const bool flow = event.type == EventType::flow_open || event.type == EventType::flow_close;
  if (flow && (!event.flow || !event.dst)) return fail("a flow without a number or an address");
  if (event.type == EventType::flow_close && (!event.bytes_up || !event.bytes_down))
    return fail("the end of a flow without its bytes");
  const bool refusal = event.type == EventType::flow_refuse || event.type == EventType::dns_refuse;
  if (refusal && event.reason.empty()) return fail("a refusal without a reason");
  if (event.type == EventType::sandbox_start && event.mode.empty()) return fail("a start without a mode");
  if (event.type == EventType::sandbox_awake && event.mode.empty()) return fail("a waking without a mode");
  if (event.type == EventType::policy_update && event.mode.empty()) return fail("a new policy without a mode");
  if (event.type == EventType::run_start && (!event.run || event.mode.empty()))
    return fail("the start of a run without its number or mode");
  if (event.type == EventType::run_exit && (!event.run || !event.exit_code))
    return fail("the end of a run without its number or exit code");
  if (event.type == EventType::sandbox_exit && !event.exit_code) return fail("an end without an exit code");
  if (event.count && *event.count == 0) return wrong("count", "is zero");
  return {};
}

}  // namespace

Result<RecordedEvent> parse_line(std::string_view line) {
  if (line.size() > kMaxLine) return fail("the line is too long");
  const auto printable_ascii = [](char c) { return c >= 0x20 && c < 0x7f; };
  if (!std::ranges::all_of(line, printable_ascii)) return fail("the line holds bytes that weir never writes");
  WEIR_TRY(const Json object, parse_json(line));
  if (!object.is_object()) return fail("the line is no JSON object");
  RecordedEvent recorded;
  std::size_t required = 0;
  for (const auto& [key, value] : object.items()) {
    const auto field = std::ranges::find(kFields, std::string_view(key), &Field::key);
    if (field == kFields.end()) return fail("the member '" + printable(key.substr(0, kMaxToken)) + "' is unknown");
    WEIR_CHECK_OK(field->take(recorded, value, key));
    if (static_cast<std::size_t>(field - kFields.begin()) < kRequired) ++required;
  }
  if (required != kRequired) {
    const auto absent = std::ranges::find_if(kFields, [&](const Field& field) { return !object.contains(field.key); });
    return fail(std::string("the member '") + absent->key + "' is missing");
  }
  WEIR_CHECK_OK(check_whole(recorded.event));
  return recorded;
}

}  // namespace weir::audit
