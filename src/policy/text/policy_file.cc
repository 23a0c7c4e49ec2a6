// The only file that knows the TOML library.
#include "policy/text/policy_file.h"

namespace weir::policy {
// Thrown where the TOML library met what it asserts cannot be.
struct TomlSurprise {};
}  // namespace weir::policy

// The library (3.3.0) asserts things that hostile text can break, such as "[\f", and in builds with NDEBUG it tells the
// compiler to assume them. Here they are checked in every build, and thrown.
#undef NDEBUG
#define TOML_ASSERT(condition) ((condition) ? static_cast<void>(0) : throw ::weir::policy::TomlSurprise())
#define TOML_HEADER_ONLY 1
#define TOML_ENABLE_FORMATTERS 0
#define TOML_EXCEPTIONS 1
#include <toml++/toml.h>

#include <algorithm>
#include <vector>

#include "base/quantity.h"
#include "base/spelling.h"
#include "policy/text/keys.h"
#include "policy/text/target.h"
#include "policy/text/values.h"

namespace weir::policy {

namespace {

Position position_of(const toml::source_region& region) {
  return {static_cast<std::uint32_t>(region.begin.line), static_cast<std::uint32_t>(region.begin.column)};
}

// The first character inside the quotes.
Position inside(Position at) {
  return {at.line, at.column + 1};
}

class FileParser {
 public:
  FileParser(std::string_view file, FileKind kind) : kind_(kind) { policy_.file = file; }

  Result<PolicyText> run(const toml::table& root);

 private:
  std::unexpected<Error> fail_at(Position at, Error error) const {
    return std::unexpected(
        Error(place_text(policy_.file, at) + error.what(), error.code()).with_remedy(error.remedy()));
  }
  std::unexpected<Error> fail_at(Position at, std::string what, std::string remedy = {}) const {
    return fail_at(at, Error(std::move(what)).with_remedy(std::move(remedy)));
  }
  template <class T>
  Result<T> placed(Result<T> result, Position at) const {
    if (result) return result;
    return fail_at(at, result.error());
  }

  Result<> walk(const toml::table& table, std::string_view table_name);
  Result<> take(const KeySpec& key, const toml::node& node);
  std::unexpected<Error> unknown_key(const toml::key& key, std::string_view table_name) const;
  std::unexpected<Error> wrong_type(const KeySpec& key, const toml::node& node) const;

  Result<> take_version(const KeySpec& key, const toml::node& node);
  Result<> take_mode(const KeySpec& key, const toml::node& node);
  Result<> take_rules(const KeySpec& key, const toml::node& node);
  Result<> take_action(const KeySpec& key, const toml::node& node);
  Result<> take_limit(const KeySpec& key, const toml::node& node);
  Result<std::uint64_t> limit_value(const KeySpec& key, const toml::node& node) const;
  Result<std::vector<WrittenTarget>> targets(const KeySpec& key, const toml::node& node) const;
  Result<> check_rule(const toml::table& rule) const;

  // Calls take(text, position) for each text of a list.
  template <class Take>
  Result<> each_text(const KeySpec& key, const toml::node& node, Take take) const {
    const toml::array* const array = node.as_array();
    if (array == nullptr) return wrong_type(key, node);
    for (const toml::node& element : *array) {
      const auto* const text = element.as_string();
      if (text == nullptr) return wrong_type(key, element);
      WEIR_CHECK_OK(take(text->get(), inside(position_of(element.source()))));
    }
    return {};
  }

  FileKind kind_;
  PolicyText policy_;
  bool has_version_ = false;
};

std::unexpected<Error> FileParser::unknown_key(const toml::key& key, std::string_view table_name) const {
  std::vector<std::string_view> names;
  std::string_view elsewhere;
  for (const KeySpec& each : policy_keys()) {
    if (!each.is_in(kind_)) continue;
    if (each.table == table_name) names.push_back(each.name);
    if (each.name == key.str() && !each.table.empty()) elsewhere = each.table;
  }
  const std::string what = "unknown key '" + std::string(key.str()) + "'" +
                           (table_name.empty() ? "" : " in [" + std::string(table_name) + "]");
  const std::string_view near = nearest_spelling(key.str(), names);
  const Position at = position_of(key.source());
  if (!near.empty()) return fail_at(at, what, "write " + std::string(near));
  if (!elsewhere.empty()) return fail_at(at, what, "it belongs into [" + std::string(elsewhere) + "]");
  return fail_at(at, what);
}

std::unexpected<Error> FileParser::wrong_type(const KeySpec& key, const toml::node& node) const {
  return fail_at(position_of(node.source()),
                 "'" + std::string(key.name) + "' must be " + std::string(describe(key.type)),
                 key.example.empty() ? "" : "write " + std::string(key.name) + " = " + std::string(key.example));
}

Result<> FileParser::take_version(const KeySpec& key, const toml::node& node) {
  const auto* const number = node.as_integer();
  if (number == nullptr) return wrong_type(key, node);
  if (number->get() != 1) {
    return fail_at(position_of(node.source()), "version " + std::to_string(number->get()) + " is not known here",
                   "write version = 1");
  }
  has_version_ = true;
  return {};
}

Result<> FileParser::take_mode(const KeySpec& key, const toml::node& node) {
  const auto* const text = node.as_string();
  if (text == nullptr) return wrong_type(key, node);
  WEIR_TRY(policy_.mode, placed(parse_mode(text->get()), inside(position_of(node.source()))));
  policy_.mode_word = text->get();
  return {};
}

// Syntax alone: whether a wildcard is too broad is judged at compile time, with what was insisted on.
Result<std::vector<WrittenTarget>> FileParser::targets(const KeySpec& key, const toml::node& node) const {
  std::vector<WrittenTarget> written;
  const auto take = [&](const std::string& text, Position at) -> Result<> {
    auto parsed = parse_target(text, {.action = Action::deny, .insisted_broad = {}});
    if (!parsed) {
      at.column += static_cast<std::uint32_t>(parsed.error().column - 1);
      return fail_at(at, "target '" + text + "': " + parsed.error().what, parsed.error().remedy);
    }
    written.push_back({.text = text, .at = at});
    return {};
  };
  WEIR_CHECK_OK(each_text(key, node, take));
  return written;
}

Result<> FileParser::take_action(const KeySpec& key, const toml::node& node) {
  const auto* const text = node.as_string();
  if (text == nullptr) return wrong_type(key, node);
  if (text->get() != "allow" && text->get() != "deny") return wrong_type(key, node);
  policy_.rules.back().action = text->get() == "allow" ? Action::allow : Action::deny;
  return {};
}

Result<> FileParser::check_rule(const toml::table& rule) const {
  const Position at = position_of(rule.source());
  if (!rule.contains("action")) return fail_at(at, "a rule needs an action", "write action = \"allow\" or \"deny\"");
  if (!rule.contains("to")) return fail_at(at, "a rule needs targets", "write to = [\"example.com\"]");
  const WrittenRule& last = policy_.rules.back();
  if (last.ech == Ech::accepted && last.action == Action::deny) {
    return fail_at(at, "ech = true says nothing in a rule that denies", "leave it out");
  }
  return {};
}

Result<> FileParser::take_rules(const KeySpec& key, const toml::node& node) {
  const toml::array* const array = node.as_array();
  if (array == nullptr) return wrong_type(key, node);
  for (const toml::node& element : *array) {
    const toml::table* const rule = element.as_table();
    if (rule == nullptr) return wrong_type(key, element);
    policy_.rules.emplace_back();
    WEIR_CHECK_OK(walk(*rule, "rules"));
    WEIR_CHECK_OK(check_rule(*rule));
  }
  return {};
}

Result<std::uint64_t> FileParser::limit_value(const KeySpec& key, const toml::node& node) const {
  if (const auto* const number = node.as_integer(); number != nullptr && key.type != KeyType::rate) {
    if (number->get() < 1) return wrong_type(key, node);
    const auto value = static_cast<std::uint64_t>(number->get());
    constexpr std::uint64_t kMsPerSecond = 1000;
    if (key.type != KeyType::duration) return value;
    if (value > UINT64_MAX / kMsPerSecond) return wrong_type(key, node);
    return value * kMsPerSecond;
  }
  const auto* const text = node.as_string();
  if (text == nullptr || key.type == KeyType::count) return wrong_type(key, node);
  const Position at = inside(position_of(node.source()));
  if (key.type == KeyType::size) return placed(parse_size_bytes(text->get()), at);
  if (key.type == KeyType::rate) return placed(parse_rate_bits(text->get()), at);
  return placed(parse_duration_ms(text->get()), at);
}

Result<> FileParser::take_limit(const KeySpec& key, const toml::node& node) {
  WEIR_TRY(const std::uint64_t value, limit_value(key, node));
  if (value == 0) return wrong_type(key, node);
  policy_.limits[static_cast<std::size_t>(key.limit)] = value;
  return {};
}

Result<> FileParser::take(const KeySpec& key, const toml::node& node) {
  const auto take_bool = [&](auto& field, auto when_true, auto when_false) -> Result<> {
    const auto* const truth = node.as_boolean();
    if (truth == nullptr) return wrong_type(key, node);
    field = truth->get() ? when_true : when_false;
    return {};
  };
  const auto take_list = [&](auto& list, auto parse) -> Result<> {
    return each_text(key, node, [&](const std::string& text, Position at) -> Result<> {
      WEIR_TRY(auto value, placed(parse(text), at));
      list.push_back(value);
      return {};
    });
  };
  const auto take_table = [&]() -> Result<> {
    const toml::table* const table = node.as_table();
    return table == nullptr ? wrong_type(key, node) : walk(*table, key.name);
  };
  switch (key.id) {
    case KeyId::version:
      return take_version(key, node);
    case KeyId::mode:
      return take_mode(key, node);
    case KeyId::allow: {
      WEIR_TRY(policy_.allow, targets(key, node));
      return {};
    }
    case KeyId::deny: {
      WEIR_TRY(policy_.deny, targets(key, node));
      return {};
    }
    case KeyId::require_name:
      return take_bool(policy_.name_need, NameNeed::required, NameNeed::optional);
    case KeyId::rules:
      return take_rules(key, node);
    case KeyId::rule_action:
      return take_action(key, node);
    case KeyId::rule_to: {
      WEIR_TRY(policy_.rules.back().to, targets(key, node));
      return {};
    }
    case KeyId::rule_ech:
      return take_bool(policy_.rules.back().ech, Ech::accepted, Ech::refused);
    case KeyId::dns:
    case KeyId::limits:
    case KeyId::publish:
      return take_table();
    case KeyId::dns_upstream:
      return take_list(policy_.dns_upstreams, parse_upstream);
    case KeyId::dns_types:
      return take_list(policy_.dns_types, parse_dns_type);
    case KeyId::limit:
      return take_limit(key, node);
    case KeyId::publish_tcp:
      return take_list(policy_.publishes,
                       [](const std::string& text) { return parse_publish(text, net::Protocol::tcp); });
    case KeyId::publish_udp:
      return take_list(policy_.publishes,
                       [](const std::string& text) { return parse_publish(text, net::Protocol::udp); });
    case KeyId::self_addresses:
      return take_list(policy_.self_addresses, net::IpAddress::parse);
    case KeyId::nat64_prefixes:
      return take_list(policy_.nat64_prefixes, parse_nat64_prefix);
  }
  return {};
}

Result<> FileParser::walk(const toml::table& table, std::string_view table_name) {
  for (const auto& [name, node] : table) {
    const KeySpec* known = nullptr;
    for (const KeySpec& each : policy_keys()) {
      if (each.table == table_name && each.name == name.str() && each.is_in(kind_)) known = &each;
    }
    if (known == nullptr) return unknown_key(name, table_name);
    WEIR_CHECK_OK(take(*known, node));
  }
  return {};
}

Result<PolicyText> FileParser::run(const toml::table& root) {
  WEIR_CHECK_OK(walk(root, ""));
  if (!has_version_) return fail_at({1, 1}, "the version of the format is missing", "write version = 1");
  return std::move(policy_);
}

bool surprises(std::string_view text) {
  try {
    static_cast<void>(toml::parse(text));
  } catch (const toml::parse_error&) {
    return false;
  } catch (const TomlSurprise&) {
    return true;
  }
  return false;
}

// The parser reads front to back, so the first line with which the text surprises it is the one at fault.
std::uint32_t surprising_line(std::string_view text) {
  std::vector<std::size_t> ends;
  for (std::size_t end = text.find('\n'); end != std::string_view::npos; end = text.find('\n', end + 1)) {
    ends.push_back(end + 1);
  }
  const auto found =
      std::ranges::partition_point(ends, [&](std::size_t end) { return !surprises(text.substr(0, end)); });
  return static_cast<std::uint32_t>(found - ends.begin()) + 1;
}

Result<toml::table> parse_toml(std::string_view text, std::string_view file) {
  try {
    return toml::parse(text);
  } catch (const toml::parse_error& error) {
    return fail(place_text(file, position_of(error.source())) + std::string(error.description()));
  } catch (const TomlSurprise&) {
    return fail(place_text(file, {.line = surprising_line(text), .column = 1}) + "this line is no TOML");
  }
}

}  // namespace

std::string place_text(std::string_view file, Position at) {
  if (at.line == 0) return file.empty() ? "" : std::string(file) + ": ";
  return std::string(file) + ":" + std::to_string(at.line) + ":" + std::to_string(at.column) + ": ";
}

Result<PolicyText> parse_policy(std::string_view text, std::string_view file, FileKind kind) {
  if (text.size() > kMaxPolicyText) return fail(std::string(file) + ": a policy of more than 16 MiB");
  WEIR_TRY(const toml::table root, parse_toml(text, file));
  return FileParser(file, kind).run(root);
}

}  // namespace weir::policy
